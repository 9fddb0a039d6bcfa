//! What a program says of a reference file: where it is, and when a version of it is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidemill_engine::{ConnectorError, Data, EventTime};
use tidemill_state::Key;

use crate::file::error::invalid;

type Convert<L, K, V> = Arc<dyn Fn(L) -> (K, V) + Send + Sync>;
type AsOf = Arc<dyn Fn(&Version) -> EventTime + Send + Sync>;

/// A file of rows by key, of any format that a [`FileSource`](crate::FileSource) reads, that is replaced as a whole: by
/// renaming another one to its name, or in place.
///
/// A version is taken when all of it can be: each line decodes, no key has two different rows, a CSV file has a header and
/// ends with a newline, and there are not far fewer rows than before ([`min_share`](Self::min_share)). Else the one before
/// stays, and it is told why, once: in the log, as a dead letter, and in the counter `refused_versions`.
pub struct ReferenceFile<K, V, L = V> {
    pub(super) path: PathBuf,
    pub(super) convert: Convert<L, K, V>,
    pub(super) reload_every: Duration,
    pub(super) min_share: f64,
    pub(super) as_of: AsOf,
}

/// A version of the file that is about to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Whether there was none before.
    pub first: bool,
    /// When it was read, by the job's clock.
    pub read: EventTime,
    /// When the file was modified, as the file system says.
    pub modified: EventTime,
}

impl<K: Key + Data, V: Data + DeserializeOwned> ReferenceFile<K, V> {
    /// Rows of `path`, each under its `key`. The extension says how they are read ([`by_extension`](crate::file::by_extension)).
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

    /// Refuses what cannot be, before the file is looked at.
    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        let Self { path, reload_every, min_share, .. } = self;
        if reload_every.is_zero() {
            return Err(invalid(path, "reload_every is 0 s: the file would be looked at without a pause"));
        }
        if !(0.0..=1.0).contains(min_share) {
            return Err(invalid(path, &format!("min_share is {min_share}: give a share, from 0 to 1")));
        }
        Ok(())
    }

    /// Sets how often the file is looked at. It is read when two looks have found the same change, so that whoever writes in
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

    /// Sets from which event time on a version holds. Default: the first one from the beginning of time, a later one from when
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
