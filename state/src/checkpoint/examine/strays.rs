//! Files that no manifest names: those that a crash or a running job leaves, and those that nobody should have put there.

use std::collections::BTreeSet;

use super::finding::{Examination, Fault, Finding, Notice};
use crate::checkpoint::catalog::Catalogued;
use crate::checkpoint::history::{epoch_of, epoch_of_file};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;

/// The names directly in a checkpoint directory.
const OWN: [&str; 5] = ["bases", "deltas", "local", "manifests", "savepoints"];

/// The names of files, from before the manifests were read.
pub(super) struct Listed {
    deltas: Vec<String>,
    bases: Vec<String>,
    manifests: Vec<String>,
    top: Vec<String>,
    temporaries: Vec<String>,
}

impl Listed {
    pub(super) fn of(store: &dyn CheckpointStore) -> Result<Self, StateError> {
        let mut temporaries = Vec::new();
        for folder in ["deltas", "bases", "manifests"] {
            let names = store.temporaries(folder)?.into_iter();
            temporaries.extend(names.map(|name| format!("{folder}/{name}")));
        }
        let list = |folder: &str| store.list(folder);
        let (deltas, bases, manifests, top) = (list("deltas")?, list("bases")?, list("manifests")?, list("")?);
        Ok(Self { deltas, bases, manifests, top, temporaries })
    }
}

/// Adds the files that no manifest names.
pub(super) fn add(
    store: &dyn CheckpointStore,
    listed: &Listed,
    all: &[Catalogued],
    found: &mut Examination,
) -> Result<(), StateError> {
    let named = names(all);
    for name in listed.top.iter().filter(|name| !OWN.contains(&name.as_str())) {
        found.findings.push(unexpected(name.clone(), "only bases, deltas, local, manifests and savepoints"));
    }
    for name in listed.manifests.iter().filter(|name| !is_manifest(name)) {
        found.findings.push(unexpected(format!("manifests/{name}"), "only files EPOCH.json"));
    }
    for name in &listed.temporaries {
        let what = "a write that is going on, or that was interrupted: no start needs it, and it may be deleted while no job runs";
        found.notices.push(Notice { file: name.clone(), what: what.to_owned() });
    }
    let newest = all.last().map_or(0, |one| one.number);
    for (folder, names, suffix) in [("deltas", &listed.deltas, ".delta"), ("bases", &listed.bases, "")] {
        for name in names {
            let path = format!("{folder}/{name}");
            if !named.contains(path.as_str()) {
                of_stray(store, path, epoch_in(name, suffix), newest, found)?;
            }
        }
    }
    in_bases(store, all, found)
}

fn of_stray(
    store: &dyn CheckpointStore,
    path: String,
    epoch: Option<u64>,
    newest: u64,
    found: &mut Examination,
) -> Result<(), StateError> {
    let is_there = || Ok(store.len(&path)?.is_some() || !store.list(&path)?.is_empty());
    let what = match epoch {
        None => {
            found.findings.push(unexpected(path, "only names EPOCH-wWORKER-START as a job gives them"));
            return Ok(());
        }
        Some(epoch) if epoch > newest + Manifest::MAX_OPEN_EPOCHS => {
            found.findings.push(Finding {
                file: path,
                fault: Fault::ManifestLost,
                offset: None,
                expected: format!(
                    "a manifest of epoch {} or later, without which epoch {epoch} cannot begin",
                    epoch - Manifest::MAX_OPEN_EPOCHS
                ),
                found: format!("the newest file of manifests/ is {newest}"),
                epochs: Vec::new(),
            });
            return Ok(());
        }
        // A running job may have removed it since it was listed.
        Some(_) if !is_there()? => return Ok(()),
        Some(epoch) if epoch > newest => {
            format!("of epoch {epoch}, which is not committed: a running job is about to, or a killed one did not")
        }
        Some(_) => "no manifest names it: of a run that was killed, or of a clean-up that was interrupted; the job removes it with its next old checkpoint".to_owned(),
    };
    found.notices.push(Notice { file: path, what });
    Ok(())
}

/// Adds the files in folders of bases that their manifests do not name. A base comes into its folder as a whole, so no
/// crash leaves any.
fn in_bases(store: &dyn CheckpointStore, all: &[Catalogued], found: &mut Examination) -> Result<(), StateError> {
    let manifests = all.iter().filter_map(Catalogued::manifest);
    let bases = manifests.flat_map(|manifest| &manifest.workers).filter_map(|worker| worker.base.as_ref());
    let mut seen = BTreeSet::new();
    for base in bases.filter(|base| seen.insert(&base.dir)) {
        for name in store.list(&base.dir)?.into_iter().chain(store.temporaries(&base.dir)?) {
            if !base.files.iter().any(|file| file.name == name) {
                found
                    .findings
                    .push(unexpected(format!("{}/{name}", base.dir), "only the files that the manifest names"));
            }
        }
    }
    Ok(())
}

fn unexpected(file: String, expected: &str) -> Finding {
    let (fault, expected) = (Fault::Unexpected, expected.to_owned());
    Finding { file, fault, offset: None, expected, found: "a file of another name".to_owned(), epochs: Vec::new() }
}

/// Returns the deltas and the folders of bases that manifests and claims name.
fn names(all: &[Catalogued]) -> BTreeSet<&str> {
    let workers = all.iter().filter_map(Catalogued::manifest).flat_map(|manifest| &manifest.workers);
    let mut named = BTreeSet::new();
    for worker in workers {
        named.extend(worker.deltas.iter().map(|delta| delta.file.as_str()));
        named.extend(worker.base.iter().map(|base| base.dir.as_str()));
    }
    named
}

fn is_manifest(name: &str) -> bool {
    epoch_of(name.as_ref()).is_some_and(|epoch| Manifest::file(epoch) == format!("manifests/{name}"))
}

/// Returns the epoch in a name that a job gives to a delta or to the folder of a base, or `None` for any other name.
fn epoch_in(name: &str, suffix: &str) -> Option<u64> {
    let mut parts = name.strip_suffix(suffix)?.split('-');
    let (epoch, worker, start) = (parts.next()?, parts.next()?.strip_prefix('w')?, parts.next()?);
    let is_number = |text: &str, radix| text.chars().all(|digit| digit.is_digit(radix) && !digit.is_ascii_uppercase());
    let as_written = epoch.len() == 20 && worker.len() >= 3 && start.len() == 16 && parts.next().is_none();
    let numbers = is_number(epoch, 10) && is_number(worker, 10) && is_number(start, 16);
    (as_written && numbers).then(|| epoch_of_file(name)).flatten()
}
