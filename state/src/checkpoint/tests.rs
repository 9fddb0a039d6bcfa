//! Tests of what a start restores and what it refuses, whatever happened to the files.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::delta::DeltaEntry;
use super::history::{epoch_of_file, list_epochs};
use super::json;
use super::manifest::{self, *};
use super::plan::*;
use super::retention::*;
use super::store::CheckpointStore;
use crate::checkpoint::delta::Delta;
use crate::checkpoint::store::{LocalStore, MemoryStore};
use crate::error::StateError;
use crate::evolve::changes::Changes;
use crate::evolve::spec::StateEntry;
use crate::ids::KeyGroups;
use crate::remedy::Remedy;
use crate::rows::db::Db;
use crate::worker::{RestoredWorker, WorkerState, WorkerStateConfig};

fn manifest_of(store: &dyn CheckpointStore, epoch: u64) -> Manifest {
    let delta = Delta::new(epoch, 0).store(store, 9).unwrap();
    Manifest {
        format_version: Manifest::FORMAT_VERSION,
        job: "job".to_owned(),
        epoch,
        incarnation: 9,
        created_ms: 0,
        key_groups: 128,
        states: Vec::new(),
        workers: vec![WorkerEntry { base: None, deltas: vec![delta] }],
        finished: false,
        control: Vec::new(),
    }
}

fn manifest(store: &dyn CheckpointStore, epoch: u64) -> Manifest {
    let manifest = manifest_of(store, epoch);
    manifest.commit(store).unwrap();
    manifest
}

fn plan(store: &LocalStore, from: &str) -> Result<RestorePlan, StateError> {
    plan_restore(store, &from.parse().unwrap(), "job", 128)
}

#[test]
fn auto_takes_the_newest_and_an_epoch_is_taken_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(plan(&store, "auto").unwrap(), RestorePlan::StartEmpty);
    let first = manifest(&store, 1);
    let second = manifest(&store, 2);
    assert_eq!(plan(&store, "auto").unwrap(), RestorePlan::From(Box::new(second.clone())));
    assert_eq!(plan(&store, "1").unwrap(), RestorePlan::From(Box::new(first.clone())));
    assert_eq!(plan(&store, "2").unwrap(), RestorePlan::From(Box::new(second.clone())), "plans only read");
    assert_eq!(plan(&store, "none").unwrap_err().remedies(), [Remedy::RestoreNewest, Remedy::StartOver]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let good = manifest(&store, 1);
    assert!(plan_restore(&store, &RestoreFrom::Auto, "other", 128).unwrap_err().to_string().contains("\"job\""));
    let groups = plan_restore(&store, &RestoreFrom::Auto, "job", 64).unwrap_err();
    assert!(groups.to_string().contains("128 key groups"), "{groups}");
    assert_eq!(groups.remedies(), [Remedy::KeyGroups(128)]);
    let delta = &good.workers[0].deltas[0].file;
    std::fs::remove_file(dir.path().join(delta)).unwrap();
    assert!(plan(&store, "auto").unwrap_err().to_string().contains(delta));
}

#[test]
fn a_truncated_manifest_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    manifest(&store, 1);
    let file = dir.path().join(Manifest::file(1));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = plan(&store, "auto").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StateError::Incomplete { epoch: 1, .. }), "{text}");
    assert!(text.contains("00000000000000000001.json") && text.contains("no checkpoint here is complete"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap().len(), bytes.len() / 2, "nothing is overwritten");
}

#[test]
fn pruning_keeps_what_kept_manifests_name_and_what_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    (1..=5).for_each(|epoch| drop(manifest(&store, epoch)));
    Delta::new(6, 0).store(&store, 9).unwrap();
    Retention { keep: 2 }.prune(&store).unwrap();
    assert_eq!(list_epochs(&store).unwrap(), [4, 5]);
    assert_eq!(store.list("deltas").unwrap().len(), 3);
    assert!(plan(&store, "4").is_ok());
}

#[test]
fn a_zombie_is_fenced_also_where_its_epoch_was_pruned() {
    let scratch = tempfile::tempdir().unwrap();
    let store = LocalStore::open(scratch.path()).unwrap();
    let late = manifest_of(&store, 1);
    for epoch in 1..=6 {
        manifest(&store, epoch);
    }
    Retention { keep: 2 }.prune(&store).unwrap();
    assert!(matches!(late.commit(&store), Err(StateError::Fenced { .. })));
    assert_eq!(list_epochs(&store).unwrap(), [5, 6]);
}

/// The store has epochs `1..=5`, of which `1` and `2` share no file with the later ones.
#[test]
fn only_whole_checkpoints_are_advised() {
    let store = MemoryStore::default();
    let mut shared: Vec<DeltaEntry> = Vec::new();
    for epoch in 1..=5 {
        let mut manifest = manifest_of(&store, epoch);
        if epoch > 2 {
            shared.append(&mut manifest.workers[0].deltas);
            manifest.workers[0].deltas = shared.clone();
        }
        manifest.commit(&store).unwrap();
    }
    let plan = |from: &str| plan_restore(&store, &from.parse().unwrap(), "job", 128);
    let advised = |from: &str| plan(from).unwrap_err().to_string();
    let remedies = |from: &str| plan(from).unwrap_err().remedies();
    assert!(advised("9").contains("can be restored instead: 5, 4, 3, 2, 1"), "{}", advised("9"));
    store.delete(&shared[0].file).unwrap();
    for from in ["auto", "5", "4", "3"] {
        let text = advised(from);
        assert!(text.contains(&shared[0].file) && text.contains("is not there"), "{text}");
        assert!(text.ends_with("can be restored instead: 2, 1"), "{text}");
        assert_eq!(remedies(from), [Remedy::RestoreEpoch(2), Remedy::RestoreEpoch(1)]);
    }
    assert!(advised("9").ends_with("can be restored instead: 2, 1"));
    let flipped = Delta::new(2, 0).store(&store, 9).unwrap().file;
    let mut bytes = store.get(&flipped).unwrap();
    bytes[20] ^= 1;
    store.put(&flipped, &bytes).unwrap();
    assert!(advised("auto").ends_with("can be restored instead: 1"), "one bit of 2 is wrong: {}", advised("auto"));
    assert!(advised("2").contains("its checksum is"), "{}", advised("2"));
    store.delete("deltas").unwrap();
    assert!(advised("auto").contains("no checkpoint here is complete"), "{}", advised("auto"));
    store.delete("manifests").unwrap();
    assert_eq!(plan("auto").unwrap(), RestorePlan::StartEmpty);
    Delta::new(5, 0).store(&store, 9).unwrap();
    let text = advised("auto");
    assert!(text.contains("there is no manifest") && text.contains("is of epoch 5"), "{text}");
    assert_eq!(plan("none").unwrap(), RestorePlan::StartEmpty, "as the message says");
}

#[test]
fn a_manifest_of_the_version_before_is_read() {
    let store = MemoryStore::default();
    let manifest = manifest_of(&store, 1);
    let old = serde_json::to_vec(&Manifest { format_version: 1, ..manifest.clone() }).unwrap();
    store.put(&Manifest::file(1), &old).unwrap();
    let RestorePlan::From(read) = plan_restore(&store, &RestoreFrom::Auto, "job", 128).unwrap() else {
        panic!("empty")
    };
    assert_eq!(read.workers, manifest.workers);
}

/// Returns a store with some epochs of two workers. The state of each is one row, which counts how often it was
/// written.
fn stored(epochs: u64, bases: &BTreeSet<u64>, keep: usize) -> (MemoryStore, Vec<u64>) {
    let store = MemoryStore::default();
    let mut pruning = Pruning::new(Retention { keep });
    let mut workers: Vec<WorkerEntry> = vec![WorkerEntry::default(), WorkerEntry::default()];
    let dbs = [Db::simulated(0), Db::simulated(0)];
    for epoch in 1..=epochs {
        for (index, worker) in workers.iter_mut().enumerate() {
            let mut delta = Delta::new(epoch, index as u32);
            delta.section("op/count").put(&row(index), &epoch.to_le_bytes()).unwrap();
            worker.deltas.push(delta.store(&store, 9).unwrap());
            dbs[index].push(Arc::new(delta)).unwrap();
            if bases.contains(&(epoch + index as u64)) {
                worker.base = Some(dbs[index].snapshot().unwrap().store(&store, epoch, index as u32, 9).unwrap());
                worker.deltas.retain(|delta| delta.epoch >= epoch);
            }
        }
        let manifest = Manifest { workers: workers.clone(), ..empty_manifest(epoch) };
        manifest.commit(&store).unwrap();
        if epoch % 2 == 0 {
            pruning.committed(&manifest);
        }
        assert_eq!(pruning.prune(&store).unwrap(), [0; 0]);
    }
    (store, (epochs.saturating_sub(keep as u64) + 1..=epochs).collect())
}

/// Returns a row key in the first key group of a worker.
fn row(worker: usize) -> [u8; 7] {
    [0, worker as u8 * 64, 0, 0, 0, 1, b'k']
}

fn empty_manifest(epoch: u64) -> Manifest {
    Manifest {
        format_version: Manifest::FORMAT_VERSION,
        job: "job".to_owned(),
        epoch,
        incarnation: 9,
        created_ms: 0,
        key_groups: 128,
        states: Vec::new(),
        workers: Vec::new(),
        finished: false,
        control: Vec::new(),
    }
}

fn restored(store: &Arc<dyn CheckpointStore>, manifest: &Manifest) -> Vec<u64> {
    let count = |worker: usize| {
        let config = WorkerStateConfig {
            dir: None,
            key_groups: KeyGroups::new(128),
            worker,
            workers: 2,
            memory_limit_bytes: None,
            durable: true,
        };
        let (manifest, changes, store) = (Arc::new(manifest.clone()), Changes::default(), Arc::clone(store));
        let worker_state =
            WorkerState::open(config, Some(RestoredWorker { manifest, changes, store, restoring: 1 })).unwrap();
        let value = worker_state.db().get("op/count", &row(worker)).unwrap().unwrap();
        u64::from_le_bytes(value.try_into().unwrap())
    };
    (0..2).map(count).collect()
}

fn all_files(store: &MemoryStore) -> Vec<String> {
    let under =
        |folder: &'static str| store.list(folder).unwrap().into_iter().map(move |name| format!("{folder}/{name}"));
    let bases = under("bases").map(|dir| format!("{dir}/rows"));
    under("manifests").chain(under("deltas")).chain(bases).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_files_are_removed_a_restore_is_right_or_says_which_and_advises_what_is_whole(
        epochs in 1..20_u64, bases in prop::collection::btree_set(2..20_u64, 0..4), keep in 1..6_usize,
        harmed in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 0..4),
    ) {
        let (store, kept) = stored(epochs, &bases, keep);
        for epoch in &kept {
            prop_assert!(plan_restore(&store, &RestoreFrom::Epoch(*epoch), "job", 128).is_ok(), "pruned too much of {}", epoch);
        }
        let manifests: Vec<Manifest> = kept.iter().map(|epoch| Manifest::load(&store, *epoch).unwrap()).collect();
        let files = all_files(&store);
        let needed: usize = manifests.iter().map(|m| m.workers.iter().map(|w| w.deltas.len() + 2).sum::<usize>() + 1).sum();
        prop_assert!(files.len() <= needed, "pruned too little");
        let mut broken = BTreeSet::new();
        for (which, how) in harmed {
            let file: &String = which.get(&files);
            if !broken.insert(file.clone()) {
                continue;
            }
            let mut bytes = store.get(file).unwrap();
            match how {
                0 => store.delete(file).unwrap(),
                1 => store.put(file, &bytes[..bytes.len() - 1]).unwrap(),
                // The contents of bases are checked by RocksDB only, so these files are cut instead.
                _ if file.starts_with("bases") => store.put(file, &[]).unwrap(),
                _ => {
                    let last = bytes.len() - 10;
                    bytes[last] ^= 1;
                    store.put(file, &bytes).unwrap();
                }
            }
        }
        let listed = list_epochs(&store).unwrap();
        let needs = |manifest: &Manifest| {
            let of_worker = |w: &WorkerEntry| {
                let of_base = w.base.iter().flat_map(|b| b.files.iter().map(|f| format!("{}/{}", b.dir, f.name))).collect::<Vec<_>>();
                w.deltas.iter().map(|d| d.file.clone()).chain(of_base).collect::<Vec<_>>()
            };
            manifest.workers.iter().flat_map(of_worker).chain([Manifest::file(manifest.epoch)]).collect::<Vec<_>>()
        };
        let whole: Vec<u64> = manifests.iter().rev()
            .filter(|m| needs(m).iter().all(|file| !broken.contains(file))).map(|m| m.epoch).collect();
        let store: Arc<dyn CheckpointStore> = Arc::new(store);
        for (from, epoch) in listed.iter().map(|epoch| (RestoreFrom::Epoch(*epoch), *epoch))
            .chain(listed.last().map(|newest| (RestoreFrom::Auto, *newest)))
        {
            match plan_restore(store.as_ref(), &from, "job", 128) {
                Ok(RestorePlan::From(manifest)) => {
                    prop_assert_eq!(manifest.epoch, epoch);
                    prop_assert!(whole.contains(&epoch), "{} is not whole: {:?}", epoch, broken);
                    prop_assert_eq!(restored(&store, &manifest), [epoch, epoch]);
                }
                Ok(RestorePlan::StartEmpty) => prop_assert!(false, "there is a checkpoint"),
                Err(StateError::Incomplete { missing, others, .. }) => {
                    prop_assert!(!whole.contains(&epoch), "{} is whole: {:?}", epoch, missing);
                    let text = missing.join(" ");
                    let manifest = manifests.iter().find(|m| m.epoch == epoch).unwrap();
                    let its_manifest = Manifest::file(epoch);
                    if broken.contains(&its_manifest) {
                        prop_assert!(text.contains(&its_manifest), "{}", text);
                    } else {
                        for file in needs(manifest).iter().filter(|file| broken.contains(*file)) {
                            prop_assert!(text.contains(file.as_str()), "{} is not named: {}", file, text);
                        }
                    }
                    prop_assert_eq!(&others, &whole);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        if listed.is_empty() {
            let plan = plan_restore(store.as_ref(), &RestoreFrom::Auto, "job", 128);
            prop_assert!(epochs <= Manifest::MAX_OPEN_EPOCHS || plan.is_err() || all_gone(store.as_ref()), "{:?}", plan);
        }
    }

    #[test]
    fn a_flipped_byte_of_a_manifest_is_an_error_or_changes_nothing_but_states(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (store, _) = stored(9, &[4].into(), 9);
        let mut manifest = Manifest::load(&store, 9).unwrap();
        manifest.states = vec![StateEntry { name: "op/count".to_owned(), version: 3, kind: "value".to_owned(), layout: None, parameters: None }];
        let mut bytes = json::encode(&manifest).unwrap().into_bytes();
        prop_assert_eq!(manifest::decode(&bytes), Ok(manifest.clone()));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(mut read) = manifest::decode(&bytes) {
            read.states.clone_from(&manifest.states);
            prop_assert_eq!(read, manifest, "byte {}", at);
        }
    }

    #[test]
    fn a_cut_manifest_or_any_bytes_are_an_error(cut in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let json = json::encode(&empty_manifest(3)).unwrap();
        let cut = cut.index(json.len());
        let reason = manifest::decode(&json.as_bytes()[..cut]).unwrap_err();
        prop_assert!(reason.contains(&format!("{cut} bytes")), "{}", reason);
        prop_assert!(manifest::decode(&bytes).is_err());
    }
}

fn all_gone(store: &dyn CheckpointStore) -> bool {
    let newest = |folder: &str| store.list(folder).unwrap().iter().filter_map(|name| epoch_of_file(name)).max();
    newest("deltas").max(newest("bases")).is_none_or(|epoch| epoch <= Manifest::MAX_OPEN_EPOCHS)
}
