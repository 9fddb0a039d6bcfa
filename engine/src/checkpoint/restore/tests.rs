//! A start reads the values besides keyed state, or is refused with the owner of the value that cannot be read.

use tidemill_state::{Delta, ErrorKind, MemoryStore, WorkerEntry};

use super::*;
use crate::time::EventTime;

const EPOCH: u64 = 7;
const KEY_GROUPS: u16 = 8;

/// Starts from a checkpoint of two workers: each has one delta for the epoch, which `change` fills.
fn start(change: impl Fn(u32, &mut Delta)) -> Result<StartingPoint, JobError> {
    let store = MemoryStore::default();
    let mut workers = Vec::new();
    for worker in 0..2 {
        let mut delta = Delta::new(EPOCH, worker);
        Blob::SourcePosition(vec![worker as u8]).put("cards", &mut delta);
        Blob::SourceWatermark(EventTime(100 + i64::from(worker))).put("cards", &mut delta);
        Blob::OperatorWatermark(EventTime(i64::from(worker))).put("sums", &mut delta);
        Blob::Staged(Epoch(EPOCH), b"token".to_vec()).put("out", &mut delta);
        Blob::Published(Epoch(EPOCH - 1)).put("", &mut delta);
        change(worker, &mut delta);
        let entry = delta.store(&store, 1)?;
        workers.push(WorkerEntry { base: None, deltas: vec![entry] });
    }
    let manifest = Manifest {
        format_version: Manifest::FORMAT_VERSION,
        job: "job".to_owned(),
        epoch: EPOCH,
        incarnation: 1,
        created_ms: 0,
        key_groups: KEY_GROUPS,
        states: Vec::new(),
        workers,
        finished: false,
        control: Vec::new(),
    };
    manifest.commit(&store)?;
    lead(&Starting {
        job: "job",
        restore: &RestoreFrom::Auto,
        claim_mode: ClaimMode::NoClaim,
        key_groups: KEY_GROUPS,
        changes: Changes::default(),
        keep: 3,
        incarnation: 2,
        now_ms: 0,
        store: Some(Arc::new(store)),
    })
}

#[test]
fn what_old_workers_left_is_there_by_owner() {
    let restored = start(|_, _| ()).unwrap().restored;
    assert_eq!(restored.positions("cards"), [vec![0], vec![1]]);
    assert_eq!(restored.source_watermark("cards"), Some(EventTime(100)));
    assert_eq!(restored.operator_watermarks("sums"), [EventTime(0), EventTime(1)]);
    assert_eq!(restored.staged("out").collect::<Vec<_>>(), [(Epoch(EPOCH), &b"token"[..]); 2]);
    assert_eq!((restored.positions("sums").len(), restored.source_watermark("sums")), (0, None));
}

/// Returns the error of a start for which worker 1 has stored `bytes` under `name`.
fn refused(name: &'static str, bytes: &'static [u8]) -> JobError {
    let change = |worker, delta: &mut Delta| {
        if worker == 1 {
            delta.set_blob(name.to_owned(), bytes.to_vec());
        }
    };
    start(change).err().unwrap()
}

#[test]
fn a_value_of_wrong_length_stops_the_start() {
    let error = refused("operator/sums/watermark", b"\x01seven b");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        "the checkpoint of epoch 7 cannot be restored: the watermark of operator \"sums\", as worker 1 wrote it, has 7 bytes, 8 are expected; an earlier checkpoint may be intact"
    );
}

#[test]
fn a_value_of_another_version_stops_the_start() {
    let error = refused("source/cards/position", b"\x02anything").to_string();
    assert!(
        error.contains("the position of source \"cards\", as worker 1 wrote it, is stored as version 2"),
        "{error}"
    );
    let error = refused("worker/published", b"\x07").to_string();
    assert!(error.contains("the newest published epoch, as worker 1 wrote it, is stored as version 7"), "{error}");
}

#[test]
fn a_value_that_this_build_does_not_know_stops_the_start() {
    let error = refused("source/cards/mood", b"\x01fine").to_string();
    assert!(
        error.contains("the mood of source \"cards\", as worker 1 wrote it, is of a kind that this build"),
        "{error}"
    );
}
