//! The files that manifests name, compared with what the manifests say.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::changed_byte;
use super::finding::{Examination, Fault, Finding, Notice};
use crate::checkpoint::delta::{Delta, DeltaEntry};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::{BaseEntry, CheckpointStore};
use crate::error::StateError;

/// What a manifest says about a file. Two manifests may differ, if one of them is damaged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stated {
    len: u64,
    crc32: Option<u32>,
}

/// An examination of files, each of which is read once, because checkpoints share most of their files.
pub(super) struct Examiner<'s> {
    store: &'s dyn CheckpointStore,
    /// What was found about each file, with the numbers of the manifests that name it.
    seen: BTreeMap<(String, Stated), (Option<Finding>, Vec<u64>)>,
    without_hash: BTreeMap<String, usize>,
    files: u64,
    bytes: u64,
}

impl<'s> Examiner<'s> {
    pub(super) fn new(store: &'s dyn CheckpointStore) -> Self {
        Self { store, seen: BTreeMap::new(), without_hash: BTreeMap::new(), files: 0, bytes: 0 }
    }

    /// Examines the files that a manifest names. `number` is that of the manifest's file.
    pub(super) fn files_of(&mut self, number: u64, manifest: &Manifest) -> Result<(), StateError> {
        for worker in &manifest.workers {
            for delta in &worker.deltas {
                let stated = Stated { len: delta.len, crc32: Some(delta.crc32) };
                self.file(number, &delta.file, stated, Some(delta))?;
            }
            worker.base.iter().try_for_each(|base| self.base(number, base))?;
        }
        Ok(())
    }

    fn base(&mut self, number: u64, base: &BaseEntry) -> Result<(), StateError> {
        for file in &base.files {
            let stated = Stated { len: file.len, crc32: file.crc32 };
            self.file(number, &format!("{}/{}", base.dir, file.name), stated, None)?;
        }
        let unhashed = base.files.iter().filter(|file| file.crc32.is_none()).count();
        if unhashed > 0 {
            self.without_hash.insert(base.dir.clone(), unhashed);
        }
        Ok(())
    }

    fn file(&mut self, number: u64, file: &str, stated: Stated, delta: Option<&DeltaEntry>) -> Result<(), StateError> {
        let key = (file.to_owned(), stated);
        if let Entry::Occupied(mut seen) = self.seen.entry(key.clone()) {
            seen.get_mut().1.push(number);
            return Ok(());
        }
        let finding = self.look(file, stated, delta)?;
        self.seen.insert(key, (finding, vec![number]));
        Ok(())
    }

    fn look(&mut self, file: &str, stated: Stated, delta: Option<&DeltaEntry>) -> Result<Option<Finding>, StateError> {
        self.files += 1;
        let is = |fault, offset, expected: String, found: String| {
            Some(Finding { file: file.to_owned(), fault, offset, expected, found, epochs: Vec::new() })
        };
        let bytes = |len: u64| format!("{len} bytes");
        let Some((len, crc32)) = self.checksum(file, stated)? else {
            return Ok(is(Fault::Missing, None, bytes(stated.len), "no such file".to_owned()));
        };
        Ok(match stated.crc32.filter(|wanted| crc32.is_some_and(|found| found != *wanted)) {
            _ if len < stated.len => is(Fault::Truncated, Some(len), bytes(stated.len), format!("it ends after {len}")),
            _ if len > stated.len => is(Fault::TooLong, Some(stated.len), bytes(stated.len), bytes(len)),
            Some(wanted) => {
                let found = crc32.unwrap_or_default();
                let at = usize::try_from(len).ok().and_then(|len| changed_byte::offset(len, wanted, found));
                let one = if at.is_some() { ", as if one byte had changed" } else { "" };
                let (expected, found) = (format!("crc32 {wanted:08x}"), format!("crc32 {found:08x}{one}"));
                is(Fault::Changed, at.map(|at| at as u64), expected, found)
            }
            None => match delta.map(|delta| Delta::load(self.store, delta)) {
                Some(Err(StateError::Corrupt { reason, .. })) => {
                    is(Fault::Unreadable, None, "a delta of its epoch".to_owned(), reason)
                }
                _ => None,
            },
        })
    }

    /// Returns the length of a file, and its checksum if the manifest states one.
    fn checksum(&mut self, file: &str, stated: Stated) -> Result<Option<(u64, Option<u32>)>, StateError> {
        if stated.crc32.is_none() {
            return Ok(self.store.len(file)?.map(|len| (len, None)));
        }
        let read = self.store.checksum(file)?;
        self.bytes += read.map_or(0, |(len, _)| len);
        Ok(read.map(|(len, crc32)| (len, Some(crc32))))
    }

    /// Adds what was found.
    pub(super) fn finish(self, found: &mut Examination) {
        found.files += self.files;
        found.bytes += self.bytes;
        let findings = self.seen.into_values().filter_map(|(finding, epochs)| Some((finding?, epochs)));
        found.findings.extend(findings.map(|(finding, epochs)| Finding { epochs, ..finding }));
        found.notices.extend(self.without_hash.into_iter().map(|(file, count)| {
            let what = format!(
                "only the lengths of {count} of its files could be compared: their manifest, of an earlier version of Tidemill, has no checksums of them"
            );
            Notice { file, what }
        }));
    }
}
