//! The identity of a file by its content, in addition to what the file system reports ([`super::stamp`]).

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::handle::Handle;
use super::stamp::{FileId, Stamp};

/// Number of bytes at the beginning of a file, and before the offset reached, that must not have changed.
const HEAD: u64 = 4096;
const TAIL: u64 = 256;

/// The hash of some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    from: u64,
    len: u64,
    hash: String,
}

impl Sample {
    fn new(from: u64, bytes: &[u8]) -> Self {
        // 128 bits of the hash are enough. Every position has samples of each file, so they are kept short.
        let hash = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { from, len: bytes.len() as u64, hash }
    }
}

/// The description of a file in a position, by which the file is recognized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: FileId,
    pub(crate) length: u64,
    pub(crate) modified: i64,
    /// Samples of the content, in the order of their offsets.
    samples: Vec<Sample>,
}

impl Identity {
    /// Returns whether `bytes` have the content that was read. The file may have grown since.
    pub(crate) fn is_in(&self, bytes: &mut Bytes) -> io::Result<bool> {
        let mut found = Vec::new();
        for sample in &self.samples {
            found.clear();
            bytes.range(sample.from, sample.from + sample.len, &mut found)?;
            if Sample::new(sample.from, &found) != *sample {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the file can be recognized by its content. It cannot if nothing of it was read.
    pub(crate) fn has_samples(&self) -> bool {
        !self.samples.is_empty()
    }

    /// Describes the file for a message that compares two of them.
    pub(crate) fn describe(&self) -> String {
        let head = self.samples.first().map_or("", |sample| sample.hash.get(..8).unwrap_or_default());
        format!("{} bytes, inode {}, its first bytes hash to {head}", self.length, self.id.inode)
    }
}

/// Samples of the content of a file that was read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    head: Vec<u8>,
    tail: (u64, Vec<u8>),
}

impl Seen {
    /// Returns the samples of a file that was read up to `offset`.
    pub(crate) fn up_to(handle: &Handle, offset: u64) -> io::Result<Self> {
        let mut seen = Self::default();
        seen.extend(handle, offset)?;
        Ok(seen)
    }

    /// Updates the samples after the file was read up to `offset`.
    pub(crate) fn extend(&mut self, handle: &Handle, offset: u64) -> io::Result<()> {
        let head = offset.min(HEAD) as usize;
        if self.head.len() < head {
            self.head = handle.bytes_at(0, head)?;
        }
        let from = offset.saturating_sub(TAIL).max(self.head.len() as u64);
        self.tail = (from, handle.bytes_at(from, offset.saturating_sub(from) as usize)?);
        Ok(())
    }

    /// Returns whether the file still has the sampled content. If not, it was cut or overwritten.
    pub(crate) fn is_still_in(&self, handle: &Handle) -> io::Result<bool> {
        let (from, tail) = &self.tail;
        Ok(handle.bytes_at(0, self.head.len())? == self.head && handle.bytes_at(*from, tail.len())? == *tail)
    }

    pub(crate) fn identity(&self, stamp: Stamp) -> Identity {
        let (from, tail) = &self.tail;
        let samples = [(0, &self.head), (*from, tail)].into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let samples = samples.map(|(from, bytes)| Sample::new(from, bytes)).collect();
        Identity { id: stamp.id, length: stamp.length, modified: stamp.modified, samples }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::file::Compression;

    #[test]
    fn a_file_is_recognized_by_its_first_bytes_and_those_before_the_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let is_in = |identity: &Identity, text: &[u8]| {
            let other = folder.path().join("b");
            fs::write(&other, text).unwrap();
            identity.is_in(&mut Bytes::open(&other, Compression::None).unwrap()).unwrap()
        };
        let text: Vec<u8> = (0..10_000u32).flat_map(|n| n.to_le_bytes()).collect();
        for offset in [0, 1, 100, 4096, 4100, 20_000] {
            fs::write(&path, &text).unwrap();
            let handle = Handle::open(&path).unwrap();
            let seen = Seen::up_to(&handle, offset as u64).unwrap();
            let identity = seen.identity(Stamp::of(&handle.metadata().unwrap()));
            assert!(is_in(&identity, &text) && is_in(&identity, &text[..offset]), "{offset}");
            assert!(seen.is_still_in(&handle).unwrap());
            if offset > 0 {
                assert!(!is_in(&identity, &text[..offset - 1]), "{offset}: cut");
                for at in [0, offset - 1] {
                    let mut other = text.clone();
                    other[at] ^= 1;
                    assert!(!is_in(&identity, &other), "{offset}: another byte at {at}");
                    fs::write(&path, &other).unwrap();
                    assert!(!seen.is_still_in(&handle).unwrap(), "{offset}: another byte at {at}");
                }
            }
        }
    }
}
