//! A small checkpoint, for tests.

use super::delta::Delta;
use super::manifest::{Manifest, WorkerEntry};
use super::store::CheckpointStore;
use crate::evolve::shape::{Layout, Shape};
use crate::evolve::spec::StateEntry;
use crate::rows::db::Db;

/// Commits a small checkpoint of everything that one can have: states, a base, a delta.
pub(super) fn checkpoint(store: &dyn CheckpointStore, epoch: u64) -> Manifest {
    let scratch = tempfile::tempdir().unwrap();
    let db = Db::open(&scratch.path().join("db"), epoch - 1, true).unwrap();
    let mut rows = Delta::new(epoch, 0);
    rows.section("counts/value").put(b"\0\x01\0\0\0\x01k", b"\x01v").unwrap();
    db.push(std::sync::Arc::new(rows)).unwrap();
    let base = db.snapshot().unwrap().store(store, epoch, 0, 7).unwrap();
    let mut delta = Delta::new(epoch, 0);
    delta.set_blob("source".to_owned(), vec![1, 2, 3]);
    let deltas = vec![delta.store(store, 7).unwrap()];
    let layout = Layout { key: Some(Shape::of::<u64>()), value: Some(Shape::of::<String>()), ..Layout::default() };
    let states = vec![StateEntry {
        name: "counts/value".to_owned(),
        version: 1,
        kind: "value".to_owned(),
        layout: Some(layout),
        parameters: None,
    }];
    let manifest = Manifest {
        format_version: Manifest::FORMAT_VERSION,
        job: "job".to_owned(),
        epoch,
        incarnation: 7,
        created_ms: 0,
        key_groups: 128,
        states,
        workers: vec![WorkerEntry { base: Some(base), deltas }],
        finished: false,
        control: Vec::new(),
    };
    manifest.commit(store).unwrap();
    manifest
}

/// Returns the names of all files of a checkpoint.
pub(super) fn files(of: &Manifest) -> Vec<String> {
    let mut files = vec![Manifest::file(of.epoch)];
    for worker in &of.workers {
        files.extend(worker.deltas.iter().map(|delta| delta.file.clone()));
        let base = worker.base.as_ref().unwrap();
        files.extend(base.files.iter().map(|file| format!("{}/{}", base.dir, file.name)));
    }
    files
}
