//! The restore of a worker's state: it turns the rows of a checkpoint into rows with the names and versions of the
//! program.

use std::collections::BTreeMap;
#[cfg(feature = "rocksdb")]
use std::fs;
use std::sync::Arc;

use super::config::{RestoredWorker, StartPart, WorkerStateConfig};
use crate::checkpoint::delta::{Delta, DeltaEntry};
use crate::checkpoint::manifest::WorkerEntry;
use crate::checkpoint::store::{BaseEntry, CheckpointStore};
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::evolve::fit::{Fit, Misfit, StoredRows, fit};
use crate::evolve::spec::{StateEntry, StateSpec};
use crate::rows::db::Db;
use crate::rows::snapshot::RowSnapshot;
use crate::threads;

/// Size of base and deltas up to which all rows are loaded into memory before the first record.
const LOADED_AT_ONCE_BYTES: u64 = 16 << 20;

const OTHER_PARAMETERS: &str = "what was kept with other parameters would give wrong answers: give the operator another name, \
                                and discard the old one with drop_state";

/// Checks that the stored state was made with the parameters that the program has now, or with others that are right
/// here as well. If either side has no parameters, nothing is compared.
pub(super) fn check_parameters(restored: &BTreeMap<String, StateEntry>, spec: &StateSpec) -> Result<(), StateError> {
    let Some(parameters) = &spec.parameters else { return Ok(()) };
    let operator = &spec.name.operator;
    let others = parameters.one_of().iter().map(|state| format!("{operator}/{state}"));
    for state in std::iter::once(spec.name.to_string()).chain(others) {
        let stored = restored.get(&state).and_then(|entry| entry.parameters.clone());
        if let Some(found) = stored.filter(|stored| !parameters.read(stored)) {
            let expected = parameters.to_string();
            return Err(StateError::Mismatch { state, found, expected, advice: OTHER_PARAMETERS });
        }
    }
    Ok(())
}

/// Upgrades the stored rows of a state to the version that the program reads, where that is needed. Returns whether the
/// files of the checkpoint have the rows as the program writes them.
///
/// # Errors
/// When the program cannot read the rows, or a value refuses to be upgraded.
pub(super) fn make_fit(db: &Db, stored: &StateEntry, rows: &dyn StoredRows, worker: usize) -> Result<bool, StateError> {
    let name = &stored.name;
    match fit(stored, rows) {
        Fit::Same => Ok(true),
        Fit::No(_) if rows.pass_by() && db.is_empty(name)? => Ok(false),
        Fit::No(Misfit { found, expected, advice }) => {
            Err(StateError::Mismatch { state: name.to_owned(), found, expected, advice })
        }
        Fit::Upgrade(from) => {
            let (to, _) = rows.versions();
            let upgraded = db.rewrite(name, |row, value, out| {
                out.push(to as u8);
                upgrade(rows, from, row, value, out).map_err(|e| StateError::Value {
                    state: name.to_owned(),
                    group: codec::group_of_row(row).0,
                    reason: format!("to become version {to}: {}", e.0),
                })
            })?;
            tracing::info!(state = name, from, to, rows = upgraded, worker, "state upgraded");
            Ok(false)
        }
    }
}

/// Writes the part of a row's value that follows its version, upgraded to the newest version.
fn upgrade(rows: &dyn StoredRows, from: u32, row: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match value.split_first() {
        Some((found, body)) if u32::from(*found) == from => rows.upgrade(from, row, body, out),
        Some((found, _)) => Err(DecodeError(format!("it is of version {found}, its checkpoint says {from}"))),
        None => Err(DecodeError("it is too short".to_owned())),
    }
}

/// Returns the program's name for a state whose rows are in the checkpoint, or `None` if the state is dropped. A name
/// that the manifest does not list is no state of the checkpoint. It stays as it is, so that its rows never mix with
/// those of a state.
fn name_of(restored: &RestoredWorker, state: &str) -> Option<String> {
    let is_known = restored.manifest.states.iter().any(|known| known.name == state);
    if is_known { restored.changes.state(state) } else { Some(state.to_owned()) }
}

/// Returns the files that have this worker's state, as it is, in the checkpoint: those of the worker of the same index,
/// if there were as many workers and no state has another name now.
pub(super) fn own_files<'r>(config: &WorkerStateConfig, restored: &'r RestoredWorker) -> Option<&'r WorkerEntry> {
    let RestoredWorker { manifest, changes, .. } = restored;
    let same_names = manifest.states.iter().all(|state| changes.state(&state.name).as_deref() == Some(&*state.name));
    let same_groups = manifest.workers.len() == config.workers;
    manifest.workers.get(config.worker).filter(|_| same_groups && same_names)
}

/// Restores the checkpoint's state for this worker's key groups into a new `Db`.
pub(super) fn restore(
    config: &WorkerStateConfig,
    restored: &RestoredWorker,
    keeps: bool,
    passed: &dyn Fn(StartPart),
) -> Result<Db, StateError> {
    let (RestoredWorker { manifest, store, .. }, name) = (restored, |state: &str| name_of(restored, state));
    let owned = config.key_groups.owned(config.worker, config.workers);
    let same = manifest.workers.len() == config.workers;
    let own = manifest.workers.get(config.worker).filter(|_| same);
    let sources: Vec<&WorkerEntry> = own.map_or_else(|| manifest.workers.iter().collect(), |own| vec![own]);
    let db = begin(config, restored, own, keeps)?;
    let is_own = own_files(config, restored).is_some();
    let bytes = |worker: &&WorkerEntry| {
        let of_base = worker.base.iter().flat_map(|base| &base.files).map(|file| file.len);
        of_base.chain(worker.deltas_to_apply().map(|delta| delta.len)).sum::<u64>()
    };
    let is_large = sources.iter().map(bytes).sum::<u64>() > LOADED_AT_ONCE_BYTES;
    passed(StartPart::Base);
    for worker in &sources {
        match &worker.base {
            Some(base) if RowSnapshot::is_of_maps(base) => {
                let rows = RowSnapshot::rows(store.as_ref(), base)?.with_names(name);
                db.apply(&rows, |group| owned.contains(&group.0))?;
            }
            // This worker's own base is there already: `begin` has opened it.
            Some(base) if own.is_none() || config.dir.is_none() => copy_base(&db, config, restored, base)?,
            _ => {}
        }
        passed(StartPart::Base);
        if is_own {
            let threads = if is_large && config.dir.is_some() { threads::spare(restored.restoring) } else { 1 };
            db.put_above(load(store.as_ref(), worker, threads)?, threads);
        } else {
            worker.deltas_to_apply().try_for_each(|entry| {
                let delta = Delta::load(store.as_ref(), entry)?;
                db.apply(&delta.with_names(name), |group| owned.contains(&group.0))
            })?;
        }
        passed(StartPart::Deltas);
    }
    // A simulated state is never large, so it is loaded later in any case: otherwise simulations would not do that.
    if config.dir.is_none() || is_large {
        db.load_later();
    }
    Ok(db)
}

/// Reads the deltas of a worker, with so many threads.
fn load(store: &dyn CheckpointStore, worker: &WorkerEntry, threads: usize) -> Result<Vec<Arc<Delta>>, StateError> {
    let entries: Vec<&DeltaEntry> = worker.deltas_to_apply().collect();
    threads::each(entries.len(), threads, |at| Delta::load(store, entries[at]).map(Arc::new)).into_iter().collect()
}

/// Opens the rows. If the number of workers is the same, this worker has the same key groups as before, so RocksDB
/// continues from this worker's own base.
#[cfg(feature = "rocksdb")]
fn begin(
    config: &WorkerStateConfig,
    restored: &RestoredWorker,
    own: Option<&WorkerEntry>,
    keeps: bool,
) -> Result<Db, StateError> {
    let RestoredWorker { manifest, store, .. } = restored;
    let Some(dir) = &config.dir else { return Ok(Db::simulated(manifest.epoch)) };
    if let Some(base) = own.and_then(|own| own.base.as_ref()).filter(|base| !RowSnapshot::is_of_maps(base)) {
        store.fetch(base, dir)?;
    }
    let db = Db::open(dir, manifest.epoch, keeps)?;
    db.rename(|state| name_of(restored, state))?;
    Ok(db)
}

/// Copies this worker's key groups from a base that the RocksDB of another worker wrote.
#[cfg(feature = "rocksdb")]
fn copy_base(
    db: &Db,
    config: &WorkerStateConfig,
    restored: &RestoredWorker,
    base: &BaseEntry,
) -> Result<(), StateError> {
    let Some(dir) = &config.dir else { return Err(not_of_maps(base)) };
    let owned = config.key_groups.owned(config.worker, config.workers);
    let folder = dir.with_extension("old");
    restored.store.fetch(base, &folder)?;
    let old = Db::open(&folder, base.epoch, false)?;
    db.copy_from(&old, |group| owned.contains(&group.0), |state| name_of(restored, state))?;
    drop(old);
    fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder))
}

/// Opens the rows as maps, which can only continue from bases of maps.
#[cfg(not(feature = "rocksdb"))]
fn begin(
    config: &WorkerStateConfig,
    restored: &RestoredWorker,
    _: Option<&WorkerEntry>,
    keeps: bool,
) -> Result<Db, StateError> {
    let epoch = restored.manifest.epoch;
    let mut bases = restored.manifest.workers.iter().filter_map(|worker| worker.base.as_ref());
    if let Some(base) = bases.find(|base| !RowSnapshot::is_of_maps(base)) {
        return Err(not_of_maps(base));
    }
    config.dir.as_ref().map_or_else(|| Ok(Db::simulated(epoch)), |dir| Db::open(dir, epoch, keeps))
}

#[cfg(not(feature = "rocksdb"))]
fn copy_base(_: &Db, _: &WorkerStateConfig, _: &RestoredWorker, base: &BaseEntry) -> Result<(), StateError> {
    Err(not_of_maps(base))
}

/// Returns the error for a base that RocksDB wrote, where this worker keeps its rows in maps.
fn not_of_maps(base: &BaseEntry) -> StateError {
    StateError::Invalid(format!(
        "the base snapshot \"{}\" was written by RocksDB, which this program is built without: build it with the feature \"rocksdb\"",
        base.dir
    ))
}
