//! A reference file as a stream of a program: what reads it, and behind an exchange what knows its rows.

use serde::de::DeserializeOwned;
use tidemill_engine::shell::Order;
use tidemill_engine::{Data, Flow, JobError, Stream};
use tidemill_state::Key;

use super::reader::VersionSource;
use super::rows::RowsLogic;
use super::settings::ReferenceFile;

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
        let buckets = self.source(name, &VersionSource(file.clone()))?.key_by(|rows| rows.bucket);
        // All of a version have one time, and the next one is later: nothing is gained by waiting for the watermark.
        Ok(buckets.process(&format!("{name}-rows"), Order::Arrival, |states| RowsLogic::open(states))?.results)
    }
}
