//! One version of the file, which is read and checked in small steps.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime};
use tidemill_state::{Key, hash_value};

use super::rows::{BUCKETS, Bucket, Row, bucket_of};
use super::settings::ReferenceFile;
use crate::file::content::Content;
use crate::file::piece::{Malformed, Read};
use crate::splits::Splits;

/// Number of rows that are checked in one step.
const CHECKED: usize = 4096;

/// The attributes that distinguish one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let (device, inode, len) = (file.dev(), file.ino(), file.len());
        Ok(Self { device, inode, len, modified: (file.mtime(), file.mtime_nsec()) })
    }

    pub(super) fn modified(&self) -> EventTime {
        let (seconds, nanoseconds) = self.modified;
        EventTime(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
    }
}

/// The reason why a version is refused.
pub(super) struct Refusal {
    pub(super) error: ConnectorError,
    /// The place of the fault, as exactly as it is known.
    pub(super) origin: String,
    /// The malformed line or row, if there is one.
    pub(super) content: Vec<u8>,
}

impl Refusal {
    fn of(path: &Path, error: ConnectorError) -> Self {
        Self { error, origin: path.display().to_string(), content: Vec::new() }
    }

    fn invalid(path: &Path, what: &str) -> Self {
        Self::of(path, ConnectorError::new(ErrorKind::Data, format!("\"{}\": {what}", path.display())))
    }

    pub(super) fn unreadable(path: &Path, cause: io::Error) -> Self {
        let what = format!("cannot read \"{}\"", path.display());
        Self::of(path, ConnectorError::caused(ErrorKind::Unavailable, what, cause))
    }

    /// Returns whether trying the same version again cannot help.
    pub(super) fn is_lasting(&self) -> bool {
        self.error.kind() != ErrorKind::Unavailable
    }
}

/// A version that is being read, and then checked.
pub(super) struct Loading<K, V> {
    pub(super) stamp: Stamp,
    content: Content,
    splits: Splits,
    buckets: Vec<Vec<Row<K, V>>>,
    malformed: u64,
    first_malformed: Option<Malformed>,
    is_read: bool,
    /// The hashes of the buckets that are checked.
    prints: Vec<u64>,
    /// Number of rows in the buckets that are checked.
    pub(super) rows: u64,
    /// A buffer for encoding rows.
    buffer: Vec<u8>,
}

impl<K: Key + Data, V: Data> Loading<K, V> {
    pub(super) fn open<L: DeserializeOwned>(path: &Path, stamp: Stamp) -> Result<Self, Refusal> {
        let splits = Splits::new(0, 1, []);
        let content = Content::open::<L>(path, &splits, Vec::new()).map_err(|e| Refusal::of(path, e))?;
        Ok(Self {
            stamp,
            content,
            splits,
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            malformed: 0,
            first_malformed: None,
            is_read: false,
            prints: Vec::new(),
            rows: 0,
            buffer: Vec::new(),
        })
    }

    /// Reads one piece, or checks some rows. Returns whether the version is complete.
    pub(super) fn step<L: DeserializeOwned + 'static>(
        &mut self,
        file: &ReferenceFile<K, V, L>,
        rows_before: u64,
    ) -> Result<bool, Refusal> {
        if !self.is_read {
            self.read_piece(file)?;
            return Ok(false);
        }
        self.check(&file.path)?;
        if self.prints.len() < self.buckets.len() {
            return Ok(false);
        }
        if (self.rows as f64) < file.min_share * rows_before as f64 {
            let what = format!(
                "it has {} rows, the version before had {rows_before}: is it cut off? If so many rows may \
                 disappear, lower `min_share`, which is {}",
                self.rows, file.min_share
            );
            return Err(Refusal::invalid(&file.path, &what));
        }
        Ok(true)
    }

    fn read_piece<L: DeserializeOwned + 'static>(&mut self, file: &ReferenceFile<K, V, L>) -> Result<(), Refusal> {
        let Self { content, splits, buckets, malformed, first_malformed, buffer, .. } = self;
        let mut refused = None;
        let read = content.read::<L>(splits.next(), |line| match line {
            Ok(line) => {
                let (key, row) = (file.convert)(line);
                match hash_value(&row, buffer) {
                    Ok(hash) => buckets[usize::from(bucket_of(&key))].push(Row { key, row, hash }),
                    Err(reason) => refused = Some(format!("the row {row:?} cannot be stored: {reason}")),
                }
            }
            Err(line) => {
                *malformed += 1;
                first_malformed.get_or_insert(line);
            }
        });
        let read = read.map_err(|e| Refusal::of(&file.path, e))?;
        if let Some(what) = refused {
            return Err(Refusal::invalid(&file.path, &what));
        }
        match read {
            Read::Whole { last: false } => {
                splits.advance();
                content.begin(splits.next());
            }
            Read::Whole { last: true } | Read::Part | Read::Nothing => self.is_read = true,
        }
        if let Some(cut) = self.content.cut() {
            return Err(Refusal::invalid(&file.path, &format!("{cut}: is it cut off, or still being written?")));
        }
        if self.is_read { self.every_line_was_decoded(&file.path) } else { Ok(()) }
    }

    fn every_line_was_decoded(&mut self, path: &Path) -> Result<(), Refusal> {
        let Some(Malformed { number, reason, content }) = self.first_malformed.take() else { return Ok(()) };
        let origin = format!("{}:{number}", path.display());
        let others = match self.malformed - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        let what = format!("line {number} cannot be decoded: {reason}{others}");
        Err(Refusal { origin, content, ..Refusal::invalid(path, &what) })
    }

    /// Sorts the rows of some buckets by key, and checks that no key has two different rows.
    fn check(&mut self, path: &Path) -> Result<(), Refusal> {
        let mut left = CHECKED;
        while let Some(bucket) = self.buckets.get_mut(self.prints.len()).filter(|_| left > 0) {
            left = left.saturating_sub(bucket.len().max(1));
            bucket.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            let twice = bucket.windows(2).find(|pair| pair[0].key == pair[1].key && pair[0].hash != pair[1].hash);
            if let Some([one, other]) = twice {
                let what = format!("the key {:?} has two rows, {:?} and {:?}", one.key, one.row, other.row);
                return Err(Refusal::invalid(path, &what));
            }
            bucket.dedup_by(|a, b| a.key == b.key);
            self.rows += bucket.len() as u64;
            self.prints.push(Bucket::print(bucket));
        }
        Ok(())
    }

    /// Returns the checked rows, with the hash of each bucket.
    pub(super) fn into_buckets(self) -> impl Iterator<Item = (Bucket<K, V>, u64)> + 'static {
        let buckets = (0..).zip(self.buckets).map(|(bucket, rows)| Bucket { bucket, rows });
        buckets.zip(self.prints)
    }
}
