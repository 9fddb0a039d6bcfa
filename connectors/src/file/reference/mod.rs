//! A reference file: a keyed table that somebody replaces as a whole, read again when it has changed.
//!
//! ```text
//! look ─▶ it has changed, and is still ─▶ read and check all of it ─▶ rows in buckets of keys       worker 0
//! reader.rs     └ else: later             version.rs  └ bad: refused     │ exchange
//!                                                     differ from what was told? ─▶ (key, row), (key, nothing)
//!                                                     rows.rs                        all workers
//! ```
//! Every version is sent whole. What the table holds is known where it is keyed state: per row its key and a hash. So a
//! difference is one to what is in the checkpoint, whatever became of the file, and the position is a few numbers.
//!
//! Known limit: one worker reads and checks a file, 64 KiB or 4096 rows a turn, and has all of a version in memory until it is
//! sent.

mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod version;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidemill_engine::shell::Order;
use tidemill_engine::{Data, EventTime, Flow, JobError, Stream};
use tidemill_state::Key;

use reader::Versions;
use rows::RowsLogic;

type Convert<L, K, V> = Arc<dyn Fn(L) -> (K, V) + Send + Sync>;
type AsOf = Arc<dyn Fn(&Version) -> EventTime + Send + Sync>;

/// A file of rows by key, of any format that a [`FileSource`](super::FileSource) reads, that is replaced as a whole: by
/// renaming another one to its name, or in place.
///
/// A version is taken when all of it can be: each line decodes, no key has two different rows, a CSV file has a header and
/// ends with a newline, and there are not far fewer rows than before ([`min_share`](Self::min_share)). Else the one before
/// stays, and it is told why, once: in the log, as a dead letter, and in the counter `refused_versions`.
pub struct ReferenceFile<K, V, L = V> {
    path: PathBuf,
    convert: Convert<L, K, V>,
    reload_every: Duration,
    min_share: f64,
    as_of: AsOf,
}

/// A version of the file that is about to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whether there was none before.
    pub first: bool,
    /// When it was read, by the job's clock.
    pub read: EventTime,
    /// When the file was modified, as the file system says.
    pub modified: EventTime,
}

impl<K: Key + Data, V: Data + DeserializeOwned> ReferenceFile<K, V> {
    /// Rows of `path`, each under its `key`. The extension says how they are read ([`by_extension`](super::by_extension)).
    pub fn new(path: impl Into<PathBuf>, key: impl Fn(&V) -> K + Send + Sync + 'static) -> Self {
        Self::converted(path, move |row| (key(&row), row))
    }
}

impl<K: Key + Data, V: Data, L: DeserializeOwned + 'static> ReferenceFile<K, V, L> {
    /// As [`new`](ReferenceFile::new), with a conversion from the line's type to key and row.
    pub fn converted(path: impl Into<PathBuf>, convert: impl Fn(L) -> (K, V) + Send + Sync + 'static) -> Self {
        Self {
            path: path.into(),
            convert: Arc::new(convert),
            reload_every: Duration::from_secs(5),
            min_share: 0.5,
            as_of: Arc::new(|version| if version.first { EventTime::MIN } else { version.read }),
        }
    }

    /// How often the file is looked at. It is read when two looks have found the same change, so that whoever writes in
    /// place has time for it. Default: 5 s.
    #[must_use]
    pub fn reload_every(mut self, every: Duration) -> Self {
        self.reload_every = every;
        self
    }

    /// A version with fewer than this share of the rows that the one before had is refused: it looks cut, or empty.
    /// Default: half of them. With 0 any will do.
    #[must_use]
    pub fn min_share(mut self, share: f64) -> Self {
        self.min_share = share;
        self
    }

    /// From which event time on a version holds. Default: the first one from the beginning of time, a later one from when
    /// it was read. It is never before the version before, nor before the watermark: `EventTime::MIN` is as soon as can be.
    #[must_use]
    pub fn as_of(mut self, as_of: impl Fn(&Version) -> EventTime + Send + Sync + 'static) -> Self {
        self.as_of = Arc::new(as_of);
        self
    }
}

impl<K, V, L> Clone for ReferenceFile<K, V, L> {
    fn clone(&self) -> Self {
        let Self { path, convert, reload_every, min_share, as_of } = self;
        let (convert, as_of) = (Arc::clone(convert), Arc::clone(as_of));
        Self { path: path.clone(), convert, reload_every: *reload_every, min_share: *min_share, as_of }
    }
}

/// Reads reference files.
pub trait ReferenceExt<'s> {
    /// The rows of `file`, and what changes of them from version to version: a new or changed row with its key, or the
    /// key of one that is gone. A changelog, for a table, a temporal or a broadcast join.
    ///
    /// * Names: `name` for what reads the file, `{name}-rows` for what knows the rows.
    /// * Time, order: all changes of a version have one event time ([`as_of`](ReferenceFile::as_of)), and none is late. The
    ///   watermark waits for the first version, and while a version is sent; else the file has no part in it. The
    ///   job ends when all other sources have ended, and the first version is there.
    /// * Guarantee: after a restore, by any number of workers, what is told is what differs from the checkpoint: each change
    ///   once. What a crash left of a version holds from 1 ms later than what was sent of it before.
    ///
    /// # Errors
    /// When the name is taken, the state cannot be opened, or the extension tells no format. While there is no version yet,
    /// a file that cannot be read or that would be refused stops the job.
    fn reference<K: Key + Data, V: Data, L: DeserializeOwned + 'static>(
        &self,
        name: &str,
        file: &ReferenceFile<K, V, L>,
    ) -> Result<Stream<'s, (K, Option<V>)>, JobError>;
}

impl<'s> ReferenceExt<'s> for Flow<'s> {
    fn reference<K: Key + Data, V: Data, L: DeserializeOwned + 'static>(
        &self,
        name: &str,
        file: &ReferenceFile<K, V, L>,
    ) -> Result<Stream<'s, (K, Option<V>)>, JobError> {
        let buckets = self.source(name, &Versions(file.clone()))?.key_by(|rows| rows.bucket);
        // All of a version have one time, and the next one is later: nothing is gained by waiting for the watermark.
        Ok(buckets.process(&format!("{name}-rows"), Order::Arrival, |states| RowsLogic::open(states))?.main)
    }
}
