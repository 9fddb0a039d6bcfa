//! The settings of a reference file: where it is, and which versions of it are accepted when.

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
/// A version is accepted only as a whole: each line decodes, no key has two different rows, a CSV file has a header and
/// ends with a newline, and there are not far fewer rows than before ([`min_share`](Self::min_share)). Otherwise the
/// previous version stays in force, and the reason is reported once: in the log, as a dead letter, and in the counter
/// `refused_versions`.
pub struct ReferenceFile<K, V, L = V> {
    pub(super) path: PathBuf,
    pub(super) convert: Convert<L, K, V>,
    pub(super) reload_every: Duration,
    pub(super) min_share: f64,
    pub(super) as_of: AsOf,
}

/// A version of the file that is about to be emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Whether it is the first version.
    pub first: bool,
    /// The time when it was read, by the job's clock.
    pub read: EventTime,
    /// The time when the file was modified, as reported by the file system.
    pub modified: EventTime,
}

impl<K: Key + Data, V: Data + DeserializeOwned> ReferenceFile<K, V> {
    /// Returns a reference file with the rows of `path`, each under its `key`. The extension names the format
    /// ([`by_extension`](crate::file::by_extension)).
    pub fn new(path: impl Into<PathBuf>, key: impl Fn(&V) -> K + Send + Sync + 'static) -> Self {
        Self::converted(path, move |row| (key(&row), row))
    }
}

impl<K: Key + Data, V: Data, L: DeserializeOwned + 'static> ReferenceFile<K, V, L> {
    /// Returns a reference file as [`new`](ReferenceFile::new) does, with a conversion from the type of a line to key
    /// and row.
    pub fn converted(path: impl Into<PathBuf>, convert: impl Fn(L) -> (K, V) + Send + Sync + 'static) -> Self {
        Self {
            path: path.into(),
            convert: Arc::new(convert),
            reload_every: Duration::from_secs(5),
            min_share: 0.5,
            as_of: Arc::new(|version| if version.first { EventTime::MIN } else { version.read }),
        }
    }

    /// Refuses impossible settings before the file is looked at.
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

    /// Sets how often the source checks whether the file has changed. The file is read when two checks have found the
    /// same change, so that a program that writes in place has time to finish. Default: 5 s.
    #[must_use]
    pub fn reload_every(mut self, every: Duration) -> Self {
        self.reload_every = every;
        self
    }

    /// Sets the smallest share of the previous version's rows that a version must have. One with fewer rows is refused,
    /// because it looks truncated or empty. Default: 0.5. With 0 any number of rows is accepted.
    #[must_use]
    pub fn min_share(mut self, share: f64) -> Self {
        self.min_share = share;
        self
    }

    /// Sets the event time from which a version is valid. Default: the first version is valid from the beginning of
    /// time, a later one from when it was read. The time is never before that of the previous version, nor before the
    /// watermark: `EventTime::MIN` means as early as possible.
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
