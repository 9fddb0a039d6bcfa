//! Lines of a file, and keys of one machine word.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// An identifier of at most eight bytes, such as `c000123`, as one machine word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Key(pub u64);

impl Key {
    /// Packs an identifier.
    ///
    /// # Errors
    /// When it is longer than eight bytes.
    pub fn of(text: &str) -> Result<Self> {
        let mut bytes = [0; 8];
        ensure!(text.len() <= 8, "the identifier \"{text}\" is longer than eight bytes");
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(u64::from_le_bytes(bytes)))
    }

    /// Returns the identifier in `bytes`, where it is unpacked.
    pub fn text(self, bytes: &mut [u8; 8]) -> &str {
        *bytes = self.0.to_le_bytes();
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(8);
        std::str::from_utf8(&bytes[..length]).unwrap_or_default()
    }

    /// Returns a hash by which records are sent to workers.
    #[must_use]
    pub fn route(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }
}

/// A reader of whole lines, a megabyte of the file at a time.
pub struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// Number of bytes at the start of the buffer that belong to a line whose end has not been read.
    kept: usize,
}

impl Lines {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open \"{}\"", path.display()))?;
        Ok(Self { file, buffer: vec![0; 1 << 20], kept: 0 })
    }

    /// Reads on and passes each whole line to `each`. Returns whether there may be more.
    ///
    /// # Errors
    /// When the file cannot be read or `each` fails.
    pub fn chunk(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        ensure!(self.kept < self.buffer.len(), "a line is longer than {} bytes", self.buffer.len());
        let read = self.file.read(&mut self.buffer[self.kept..])?;
        if read == 0 {
            let last = std::mem::take(&mut self.kept);
            if last > 0 {
                each(&self.buffer[..last])?;
            }
            return Ok(false);
        }
        let (end, mut start) = (self.kept + read, 0);
        for newline in memchr::memchr_iter(b'\n', &self.buffer[..end]) {
            each(&self.buffer[start..newline])?;
            start = newline + 1;
        }
        self.buffer.copy_within(start..end, 0);
        self.kept = end - start;
        Ok(true)
    }
}
