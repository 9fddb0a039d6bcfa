//! Checksums of the files of a folder.
//!
//! The SST files of a base are mostly those of the base before: hard links to the same files, which never change. So
//! they are read once, and a base costs the reading of what is new in it, which was just written and is in the cache of
//! the file system.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use crate::locks;

/// The checksums of files that were read, by the place and time of the file's contents.
#[derive(Debug, Default)]
pub(super) struct Hashed(Mutex<BTreeMap<Contents, u32>>);

/// Device, inode, length and time of change: another file, or a changed one, differs in one of them.
type Contents = (u64, u64, u64, i64, i64);

impl Hashed {
    /// Number of files that are remembered; beyond it all are forgotten, and read once more.
    const MOST: usize = 50_000;

    /// Returns the length and the checksum of a file, which is read only if it was not read before.
    pub(super) fn checksum(&self, path: &Path) -> io::Result<(u64, u32)> {
        let contents = contents(&path.metadata()?);
        if let Some(known) = locks::lock(&self.0).get(&contents) {
            return Ok((contents.2, *known));
        }
        let (len, crc32) = checksum(path)?;
        let mut known = locks::lock(&self.0);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(contents, crc32);
        Ok((len, crc32))
    }
}

fn contents(of: &Metadata) -> Contents {
    (of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec())
}

/// Returns the length and the checksum (crc32) of a file.
pub(super) fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut len, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((len, hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        len += read as u64;
    }
}
