//! What a savepoint is, how a start continues from one, and what is refused.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::*;
use crate::checkpoint::claim::Starter;
use crate::checkpoint::history::list_epochs;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::plan::{RestoreFrom, RestorePlan, plan_restore};
use crate::checkpoint::retention::Retention;
use crate::checkpoint::sample::{checkpoint, files};
use crate::checkpoint::store::{CheckpointStore, LocalStore};
use crate::checkpoint::take_over::{Takeover, follow, take_over};
use crate::error::StateError;

/// A checkpoint directory with the checkpoint of epoch 5, and a savepoint of it.
struct Scene {
    scratch: tempfile::TempDir,
    store: LocalStore,
    manifest: Manifest,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&scratch.path().join("job")).unwrap();
        let manifest = checkpoint(&store, 5);
        let scene = Self { scratch, store, manifest };
        take_savepoint(&scene.store, &scene.manifest, &scene.place(), Sharing::Links).unwrap();
        scene
    }

    fn place(&self) -> PathBuf {
        self.scratch.path().join("job/savepoints/good")
    }

    fn other(&self) -> LocalStore {
        LocalStore::open(&self.scratch.path().join("other")).unwrap()
    }

    fn from(&self) -> RestoreFrom {
        RestoreFrom::Savepoint(self.place())
    }
}

const STARTER: Starter<'_> = Starter { job: "job", key_groups: 128, incarnation: 3, now_ms: 0 };

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What an automatic start in this store would restore.
fn automatic(store: &LocalStore) -> Result<Option<u64>, StateError> {
    match plan_restore(store, &RestoreFrom::Auto, "job", 128)? {
        RestorePlan::StartEmpty => Ok(None),
        RestorePlan::From(manifest) => Ok(Some(manifest.epoch)),
    }
}

#[test]
fn a_savepoint_has_all_files_under_their_names_and_pruning_leaves_it_alone() {
    let scene = Scene::new();
    checkpoint(&scene.store, 9);
    Retention { keep: 1 }.prune(&scene.store).unwrap();
    assert_eq!(list_epochs(&scene.store).unwrap(), [9]);
    let savepoint = Savepoint::open(&scene.place()).unwrap();
    savepoint.check().unwrap();
    assert_eq!(savepoint.manifest, scene.manifest);
    for file in files(&scene.manifest) {
        assert!(savepoint.store.len(&file).unwrap().is_some(), "{file}");
        assert_eq!(scene.store.len(&file).unwrap(), None, "{file} is pruned");
    }
    let copy = scene.scratch.path().join("copy");
    take_savepoint(&savepoint.store, &savepoint.manifest, &copy, Sharing::Copies).unwrap();
    savepoint.delete().unwrap();
    assert_eq!(names(&scene.scratch.path().join("job/savepoints")), BTreeSet::new());
    Savepoint::open(&copy).unwrap().check().unwrap();
}

#[test]
fn each_changed_byte_and_each_missing_file_is_refused() {
    let scene = Scene::new();
    let other = scene.other();
    let refused = |what: &str| match take_over(&other, &scene.from(), &STARTER) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("restored with {what}"),
    };
    for file in files(&scene.manifest) {
        let path = scene.place().join(&file);
        let bytes = fs::read(&path).unwrap();
        // The file may be a link: it is replaced, not changed.
        let put = |bytes: &[u8]| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
        };
        // Every byte of the manifest and of the delta, and some of the base, which is large.
        let step = if file.starts_with("bases") { bytes.len() / 16 + 1 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            put(&changed);
            let error = refused(&format!("byte {at} of {file} changed"));
            assert!(error.contains(&file), "byte {at} of {file}: {error}");
            assert!(file.starts_with("manifests") || error.contains(&format!("at byte {at}: ")), "{error}");
        }
        put(&bytes[..bytes.len().saturating_sub(1)]);
        assert!(bytes.is_empty() || refused("a cut file").contains(&file));
        fs::remove_file(&path).unwrap();
        let error = refused("a file missing");
        assert!(file.starts_with("manifests") || error.contains(&file), "{error}");
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(list_epochs(&other).unwrap(), [0_u64; 0], "nothing was claimed");
    Savepoint::open(&scene.place()).unwrap().check().unwrap();
}

#[test]
fn taking_a_checkpoint_that_is_not_whole_leaves_nothing() {
    let scene = Scene::new();
    let folder = scene.scratch.path().join("job/savepoints");
    let again = folder.join("again");
    for file in files(&scene.manifest).into_iter().skip(1) {
        let (path, aside) = (scene.scratch.path().join("job").join(&file), scene.scratch.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let missing = take_savepoint(&scene.store, &scene.manifest, &again, Sharing::Links).unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        fs::write(&path, b"other").unwrap();
        let damaged = take_savepoint(&scene.store, &scene.manifest, &again, Sharing::Links).unwrap_err();
        assert!(matches!(&damaged, StateError::Savepoint { faults, .. } if faults[0].contains(&file)), "{damaged}");
        fs::rename(&aside, &path).unwrap();
        assert_eq!(names(&folder), BTreeSet::from(["good".to_owned()]));
    }
    let there = take_savepoint(&scene.store, &scene.manifest, &scene.place(), Sharing::Links).unwrap_err();
    assert!(there.to_string().contains("exists already"), "{there}");
}

#[test]
fn a_draft_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not() {
    let scene = Scene::new();
    let folder = scene.scratch.path().join("job/savepoints");
    let (dead, living) = (folder.join(".dead.1-0.tmp"), folder.join(".living.1-0.tmp"));
    for draft in [&dead, &living] {
        fs::create_dir_all(draft.join("deltas")).unwrap();
    }
    let locked = File::open(&living).unwrap();
    locked.lock().unwrap();
    let listed: Vec<String> =
        savepoints(&scene.scratch.path().join("job")).unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(listed, ["good"]);
    take_savepoint(&scene.store, &scene.manifest, &folder.join("next"), Sharing::Copies).unwrap();
    assert!(!dead.exists() && living.exists());
}

fn begun(store: &LocalStore, scene: &Scene) -> Takeover {
    let taken = take_over(store, &scene.from(), &STARTER).unwrap();
    assert_eq!(taken.manifest.as_ref(), Some(&scene.manifest));
    assert_eq!(follow(store, &taken.found).unwrap().as_ref(), Some(&scene.manifest), "other processes find it");
    taken
}

#[test]
fn a_start_in_an_empty_directory_goes_on_after_the_savepoint_and_needs_it_no_more() {
    let scene = Scene::new();
    let other = scene.other();
    let taken = begun(&other, &scene);
    assert!(taken.first_epoch > scene.manifest.epoch + 1);
    taken.give_up_later(&other).unwrap();
    Savepoint::open(&scene.place()).unwrap().delete().unwrap();
    // A start after a kill finds everything, without the savepoint's name.
    assert_eq!(automatic(&other).unwrap(), Some(5));
    let next = checkpoint(&other, taken.first_epoch);
    assert_eq!(automatic(&other).unwrap(), Some(next.epoch));
    Retention { keep: 1 }.prune(&other).unwrap();
    assert_eq!(automatic(&other).unwrap(), Some(next.epoch));
}

#[test]
fn a_start_that_is_refused_leaves_the_directory_as_it_was() {
    let scene = Scene::new();
    let other = scene.other();
    begun(&other, &scene).withdraw(&other).unwrap();
    assert_eq!(automatic(&other).unwrap(), None);
    for folder in ["manifests", "deltas", "bases"] {
        assert_eq!(names(&scene.scratch.path().join("other").join(folder)), BTreeSet::new());
    }
    // Where the savepoint's checkpoint is there as well, its files stay.
    begun(&scene.store, &scene).withdraw(&scene.store).unwrap();
    assert_eq!(automatic(&scene.store).unwrap(), Some(5));
}

#[test]
fn a_start_among_later_checkpoints_discards_them_once_it_has_begun() {
    let scene = Scene::new();
    checkpoint(&scene.store, 9);
    Retention { keep: 1 }.prune(&scene.store).unwrap();
    let taken = begun(&scene.store, &scene);
    assert_eq!(automatic(&scene.store).unwrap(), Some(9), "the start may still be refused");
    taken.give_up_later(&scene.store).unwrap();
    assert_eq!(automatic(&scene.store).unwrap(), Some(5));
    assert!(taken.first_epoch > 10);
    // The run before is fenced, whichever epoch it is in.
    let late = Manifest { epoch: 10, ..scene.manifest.clone() };
    assert!(matches!(late.commit(&scene.store), Err(StateError::Fenced { .. })));
    assert_eq!(automatic(&scene.store).unwrap(), Some(5));
}

#[test]
fn numbers_go_on_above_a_savepoint_that_is_ahead_of_the_directory() {
    let scene = Scene::new();
    let other = scene.other();
    checkpoint(&other, 2);
    let taken = begun(&other, &scene);
    assert!(taken.first_epoch > 6, "{}", taken.first_epoch);
    // The run that has committed epoch 2 has numbers below the claim, and is fenced all the same.
    let late = Manifest { epoch: 3, ..scene.manifest.clone() };
    assert!(matches!(late.commit(&other), Err(StateError::Fenced { .. })));
    taken.give_up_later(&other).unwrap();
    assert_eq!(automatic(&other).unwrap(), Some(5));
}

#[test]
fn a_claimed_savepoint_is_deleted_only_if_its_files_are_all_in_the_store() {
    let scene = Scene::new();
    let other = scene.other();
    let taken = begun(&other, &scene);
    let delta = scene.scratch.path().join("other").join(&scene.manifest.workers[0].deltas[0].file);
    let bytes = fs::read(&delta).unwrap();
    fs::remove_file(&delta).unwrap();
    assert!(matches!(taken.delete_savepoint(&other), Err(StateError::Incomplete { .. })));
    assert!(scene.place().exists());
    fs::write(&delta, bytes).unwrap();
    taken.delete_savepoint(&other).unwrap();
    assert!(!scene.place().exists());
    assert_eq!(automatic(&other).unwrap(), Some(5));
}

#[test]
fn a_savepoint_of_a_finished_job_is_restored_as_one() {
    let scene = Scene::new();
    let manifest = Manifest { finished: true, ..scene.manifest.clone() };
    let place = scene.scratch.path().join("finished");
    take_savepoint(&scene.store, &manifest, &place, Sharing::Links).unwrap();
    let other = scene.other();
    let taken = take_over(&other, &RestoreFrom::Savepoint(place), &STARTER).unwrap();
    assert_eq!(follow(&other, &taken.found).unwrap(), Some(manifest));
    assert_eq!(automatic(&other).unwrap(), Some(5), "it stays finished");
}

#[test]
fn what_does_not_fit_the_job_is_refused() {
    let scene = Scene::new();
    let other = scene.other();
    let refused = |starter: &Starter<'_>, from: &RestoreFrom| take_over(&other, from, starter).unwrap_err().to_string();
    assert!(refused(&Starter { job: "another", ..STARTER }, &scene.from()).contains("belongs to job \"job\""));
    assert!(refused(&Starter { key_groups: 64, ..STARTER }, &scene.from()).contains("128 key groups"));
    let none = "savepoint:none".parse().unwrap();
    assert!(refused(&STARTER, &none).contains("there is no such folder"));
    // The directory of a job is no savepoint, even if it has one checkpoint beside the claim of a start.
    take_over(&scene.store, &RestoreFrom::Auto, &STARTER).unwrap();
    let job = RestoreFrom::Savepoint(scene.scratch.path().join("job"));
    assert!(refused(&STARTER, &job).contains("checkpoint directory of a job"));
    // A directory of another job takes none.
    let foreign = checkpoint(&LocalStore::open(&scene.scratch.path().join("foreign")).unwrap(), 4);
    Manifest { job: "foreign".to_owned(), ..foreign }.commit(&other).unwrap();
    assert!(refused(&STARTER, &scene.from()).contains("belongs to job \"foreign\""));
    assert_eq!(list_epochs(&other).unwrap(), [4]);
}
