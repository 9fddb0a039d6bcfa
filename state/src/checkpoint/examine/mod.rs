//! The examination of a checkpoint directory: every byte of every file that a checkpoint needs, and every file beside
//! them. It only reads, and may run while the job does: what the job removes meanwhile is no finding.
//!
//! ```text
//! names of deltas and bases ─▶ manifests ─▶ the files that they name ─▶ strays: files that no manifest names
//! ```
//! The names are read first: a file that is listed was there before the manifests that are read afterwards, so it is not
//! newer than the epochs that may be open then.
//!
//! A restart looks at less: of the checkpoint that it restores it reads every delta, and the length of each file of its
//! bases (`plan.rs`).

mod changed_byte;
mod contents;
mod finding;
mod strays;

pub use finding::{Examination, Fault, Finding, Notice};

use self::contents::Examiner;
use self::strays::Listed;
use super::catalog::{Catalogued, Contents, catalogue};
use super::history::list_epochs;
use super::json;
use super::store::CheckpointStore;
use crate::error::StateError;

/// Examines the checkpoint of one epoch, or all checkpoints and the files beside them.
///
/// # Errors
/// When the store cannot be listed or read. What is wrong with files is in the examination.
pub fn examine(store: &dyn CheckpointStore, only: Option<u64>) -> Result<Examination, StateError> {
    let listed = Listed::of(store)?;
    let all = catalogue(store)?;
    let mut examiner = Examiner::new(store);
    let mut found = Examination::default();
    let chosen = all.iter().filter(|one| only.is_none_or(|only| one.number == only));
    for one in chosen {
        of_manifest(store, one, &mut found)?;
        one.manifest().into_iter().try_for_each(|manifest| examiner.files_of(one.number, manifest))?;
        if one.checkpoint().is_some() || matches!(one.contents, Contents::Damaged(_)) {
            found.checkpoints.push(one.number);
        }
    }
    examiner.finish(&mut found);
    if only.is_none() {
        strays::add(store, &listed, &all, &mut found)?;
    }
    forget_removed(store, &mut found)?;
    let broken = |epoch: &u64| found.findings.iter().any(|finding| finding.epochs.contains(epoch));
    found.whole = found.checkpoints.iter().copied().filter(|epoch| !broken(epoch)).collect();
    found.findings.sort_by(|a, b| a.file.cmp(&b.file));
    found.notices.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

/// Examines the manifest's own file.
fn of_manifest(store: &dyn CheckpointStore, one: &Catalogued, found: &mut Examination) -> Result<(), StateError> {
    let bytes = match store.get(&one.file) {
        Err(_) if store.len(&one.file)?.is_none() => return Ok(()),
        read => read?,
    };
    (found.files, found.bytes) = (found.files + 1, found.bytes + bytes.len() as u64);
    let finding = |offset, what: &str| Finding {
        file: one.file.clone(),
        fault: Fault::Unreadable,
        offset,
        expected: "the JSON of a manifest or of a claim, as its checksum says".to_owned(),
        found: what.to_owned(),
        epochs: vec![one.number],
    };
    match (&one.contents, serde_json::from_slice::<serde_json::Value>(&bytes)) {
        (Contents::Damaged(_), Err(error)) => {
            let at = offset_of(&bytes, error.line(), error.column());
            found.findings.push(finding(Some(at), &error.to_string()));
        }
        (Contents::Damaged(reason), Ok(_)) => found.findings.push(finding(None, reason)),
        (Contents::Checkpoint(_), Ok(json)) => {
            let (faults, old) = json::faults_of_states(&json);
            found.findings.extend(faults.iter().map(|fault| finding(None, fault)));
            if old > 0 {
                let what = format!(
                    "its descriptions of {old} states have no checksums, so a change in them would not be found: an earlier version of Tidemill wrote it"
                );
                found.notices.push(Notice { file: one.file.clone(), what });
            }
        }
        _ => {}
    }
    Ok(())
}

/// Returns the offset of a line and a column, which are counted from 1.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> u64 {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    (before + column.saturating_sub(1)).min(bytes.len()) as u64
}

/// Forgets what was found in checkpoints that are no longer there: the job has removed them meanwhile.
fn forget_removed(store: &dyn CheckpointStore, found: &mut Examination) -> Result<(), StateError> {
    let there = list_epochs(store)?;
    let is_there = |epoch: &u64| there.binary_search(epoch).is_ok();
    found.checkpoints.retain(is_there);
    found.findings.iter_mut().for_each(|finding| {
        if !finding.epochs.is_empty() {
            finding.epochs.retain(is_there);
            // Marked, because findings without epochs, of strays, stay.
            if finding.epochs.is_empty() {
                finding.file.clear();
            }
        }
    });
    found.findings.retain(|finding| !finding.file.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests;
