//! A reference file as a stream of a program: a source that reads it and, after an exchange, an operator that keeps its
//! rows.

use serde::de::DeserializeOwned;
use tidemill_engine::shell::Order;
use tidemill_engine::{Data, Flow, JobError, Stream};
use tidemill_state::Key;

use super::reader::VersionSource;
use super::rows::RowsLogic;
use super::settings::ReferenceFile;

/// An extension of [`Flow`] that reads reference files.
pub trait ReferenceExt<'s> {
    /// Returns the rows of `file` and their changes from version to version, as a changelog for a table, a temporal
    /// join or a broadcast join. A change is a new or changed row with its key, or the key of a row that was removed.
    ///
    /// * Names: `name` is the source that reads the file, `{name}-rows` the operator that keeps the rows.
    /// * Time, order: all changes of a version have one event time ([`as_of`](ReferenceFile::as_of)), and none is late. The
    ///   watermark waits for the first version, and while a version is sent; otherwise the file does not affect it. The
    ///   job ends when all other sources have ended and the first version was read.
    /// * Guarantee: after a restore, by any number of workers, the changes since the checkpoint are emitted, each once.
    ///   If a crash interrupted a version, its remaining changes are valid from 1 ms later than those sent before.
    ///
    /// # Errors
    /// When the name is taken, the state cannot be opened, or the extension names no known format. As long as there is
    /// no version yet, a file that cannot be read or that would be refused stops the job.
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
        // All rows of a version have the same event time, and the next version has a later one, so waiting for the
        // watermark would gain nothing.
        Ok(buckets.process(&format!("{name}-rows"), Order::Arrival, |states| RowsLogic::open(states))?.results)
    }
}
