//! The files beside a followed one: those to which it was renamed or copied, and those that had its name in between.
//!
//! ```text
//! a.jsonl   a.jsonl.1   a.jsonl-20261128.gz   a.2026-11-28.jsonl       logrotate, log4j, and others
//! ```

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::folder::{Sibling, others};
use super::format::Compression;
use super::handle::Handle;
use super::identity::Identity;
use super::stamp::{FileId, born, modified};

/// Number of bytes of two files that are compared at a time.
const STEP: u64 = 64 * 1024;

/// The latest creation and the latest modification of some files, in ns since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Newest {
    born: Option<i64>,
    modified: i64,
}

impl Newest {
    fn of(metadata: &Metadata) -> Self {
        Self { born: born(metadata), modified: modified(metadata) }
    }

    /// Returns the age of a file that is being read, which later files must exceed.
    pub(crate) fn of_read(metadata: &Metadata, compression: Compression) -> Self {
        match compression {
            Compression::None => Self::of(metadata).made(),
            // Its creation only shows when it was compressed. The file may have been copied and cut within the same
            // tick of the file system's clock.
            _ => Self { born: None, modified: modified(metadata) - 1 },
        }
    }

    /// Returns the age that orders a file before those made after it, even if a process still writes to it.
    fn made(self) -> Self {
        Self { born: self.born, modified: self.born.unwrap_or(self.modified) }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { born: self.born.max(other.born), modified: self.modified.max(other.modified) }
    }

    /// Returns whether a file (`other`) was created and written to after these. A compressed copy is created later than
    /// its original, but keeps the original's time of modification.
    fn is_before(self, other: Self) -> bool {
        other.modified > self.modified && (self.born.is_none() || other.born.is_none() || other.born > self.born)
    }
}

impl Sibling {
    /// Returns the place of the file among others. Files are ordered by creation, because a process that has one open
    /// may still write to it. Compressed files are created when they are compressed, but keep the original's time of
    /// modification.
    pub(crate) fn order(&self) -> (i64, bool) {
        match self.compression() {
            Compression::None => (born(&self.metadata).unwrap_or_else(|| self.modified()), true),
            _ => (self.modified(), false),
        }
    }

    pub(crate) fn compression(&self) -> Compression {
        compression_of(&self.path)
    }

    /// Returns whether the decompressed content has this length.
    fn has_length(&self, length: u64) -> io::Result<bool> {
        let mut last = Vec::new();
        let before = length.saturating_sub(1);
        let mut bytes = self.bytes()?;
        bytes.forget(before)?;
        bytes.range(before, length + 1, &mut last)?;
        Ok(last.len() as u64 == length - before)
    }

    fn bytes(&self) -> io::Result<Bytes> {
        Bytes::open(&self.path, self.compression())
    }
}

pub(crate) fn compression_of(path: &Path) -> Compression {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Returns whether `rotated` is a name that rotation gives to the file `name`: with a number, a date or `old` after it
/// or before its extension.
pub(crate) fn is_rotated(name: &str, rotated: &str) -> bool {
    let rotated = [".gz", ".zst"].iter().find_map(|suffix| rotated.strip_suffix(suffix)).unwrap_or(rotated);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let behind = rotated.strip_prefix(name);
    let within = rotated.strip_prefix(stem).and_then(|rest| rest.strip_suffix(extension)?.strip_suffix('.'));
    [behind, within].into_iter().flatten().any(|mark| {
        let is_number = |mark: &str| mark.contains(|c: char| c.is_ascii_digit()) && mark.chars().all(is_of_date);
        mark.strip_prefix(['.', '-', '_']).is_some_and(|mark| is_number(mark) || ["old", "prev", "bak"].contains(&mark))
    })
}

fn is_of_date(c: char) -> bool {
    c.is_ascii_digit() || ".-_:TZ+".contains(c)
}

/// Returns the files whose names a rotation of `path` may have given them.
fn rotated(path: &Path) -> io::Result<Vec<Sibling>> {
    let mut found = others(path, is_rotated)?;
    // While a file is being compressed, both the original and the copy exist.
    let plain: Vec<PathBuf> = found.iter().map(|sibling| sibling.path.clone()).collect();
    found.retain(|sibling| {
        sibling.compression() == Compression::None || !plain.contains(&sibling.path.with_extension(""))
    });
    Ok(found)
}

/// Returns the latest creation and modification of the rotated files that exist.
pub(crate) fn newest(path: &Path) -> io::Result<Newest> {
    Ok(rotated(path)?.iter().map(|sibling| Newest::of(&sibling.metadata)).fold(Newest::default(), Newest::max))
}

/// Finds a copy of the file with this identity that was made after the file was read up to `offset`. Of several copies
/// it is the longest, which was made last.
pub(crate) fn copy_of(path: &Path, identity: &Identity, offset: u64) -> io::Result<Option<Sibling>> {
    let mut candidates = rotated(path)?;
    if !identity.has_samples() {
        // No content was read that could be compared; but the file was not written to since, so a copy has its time of
        // modification and its length.
        candidates.retain(|sibling| sibling.modified() == identity.modified);
        for sibling in candidates {
            if sibling.has_length(identity.length)? {
                return Ok(Some(sibling));
            }
        }
        return Ok(None);
    }
    candidates.retain(|sibling| {
        let is_whole = sibling.compression() != Compression::None || sibling.metadata.len() >= offset;
        is_whole && modified(&sibling.metadata) >= identity.modified
    });
    candidates.sort_by_key(|sibling| (sibling.compression() != Compression::None, u64::MAX - sibling.metadata.len()));
    for sibling in candidates {
        // A file that cannot be read is not taken for the copy.
        if sibling.bytes().and_then(|mut bytes| identity.is_in(&mut bytes)).unwrap_or(false) {
            return Ok(Some(sibling));
        }
    }
    Ok(None)
}

/// Returns, in order, the files that were created after `after` and rotated away before they were noticed. Files in
/// `known` are left out, and so are copies of the files in `open` and of the file that `path` names now.
pub(crate) fn between(path: &Path, after: Newest, known: &[FileId], open: &[&Handle]) -> io::Result<Vec<Sibling>> {
    let mut found = rotated(path)?;
    found.retain(|sibling| {
        after.is_before(Newest::of(&sibling.metadata))
            && !known.contains(&sibling.id())
            && !open.iter().any(|open| open.id() == sibling.id())
    });
    if found.is_empty() {
        return Ok(found);
    }
    let now = Handle::open(path).ok();
    let mut ones = Vec::new();
    for sibling in found {
        let mut is_copy = false;
        for of in open.iter().copied().chain(now.as_ref()) {
            let mut of = Bytes::of(of.clone(), Compression::None)?;
            is_copy |= match begins(&mut of, &mut sibling.bytes()?) {
                // The file was closed and has no name any more, so it cannot be compared.
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                is_copy => is_copy?,
            };
        }
        if !is_copy {
            ones.push(sibling);
        }
    }
    ones.sort_by_key(Sibling::order);
    Ok(ones)
}

/// Returns whether `part` is not empty and `whole` begins with it.
fn begins(whole: &mut Bytes, part: &mut Bytes) -> io::Result<bool> {
    let (mut from, mut some, mut of_whole) = (0, Vec::new(), Vec::new());
    loop {
        some.clear();
        of_whole.clear();
        part.range(from, from + STEP, &mut some)?;
        if some.is_empty() {
            return Ok(from > 0);
        }
        whole.range(from, from + some.len() as u64, &mut of_whole)?;
        if some != of_whole {
            return Ok(false);
        }
        part.forget(from)?;
        whole.forget(from)?;
        from += some.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_of_rotation() {
        for yes in
            ["a.jsonl.1", "a.jsonl.2.gz", "a.jsonl-20261128", "a.jsonl.old", "a.1.jsonl", "a-2026-11-28.jsonl.gz"]
        {
            assert!(is_rotated("a.jsonl", yes), "{yes}");
        }
        for no in [
            "a.jsonl",
            "ab.jsonl",
            "a-errors.jsonl",
            "a.csv",
            "b.jsonl.1",
            "a.jsonl2",
            "aT.jsonl",
            "a.jsonl.pos",
            "a.jsonl.1.tmp",
        ] {
            assert!(!is_rotated("a.jsonl", no), "{no}");
        }
    }

    #[test]
    fn what_begins_as_another_file_is_a_copy_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..60_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let begins_with = |part: &[u8]| {
            let open = |name: &str, bytes: &[u8]| {
                fs::write(folder.path().join(name), bytes).unwrap();
                Bytes::open(&folder.path().join(name), Compression::None).unwrap()
            };
            begins(&mut open("whole", &text), &mut open("part", part)).unwrap()
        };
        assert!(begins_with(&text) && begins_with(&text[..200_000]) && !begins_with(b""));
        let mut other = text.clone();
        other[230_000] ^= 1;
        assert!(!begins_with(&other) && begins_with(&other[..230_000]));
        assert!(!begins_with(&[&text[..], b"x"].concat()));
    }
}
