//! The file sink: it writes part files, each of which appears whole when its epoch commits.
//!
//! ```text
//! epoch runs     .part-w000-{incarnation}-{n}.inprogress   hidden pieces, one for each folder: their epoch is known when it closes
//! epoch closes   the delta holds the pieces that wait, and the parts that are closed: {pieces, final name}
//! before commit  the pieces are synced
//! committed      a part of one piece is renamed, the pieces of another are put together
//!                  ▶ part-e0000000007-w000.jsonl            idempotent: the name is the marker
//! ```

mod files;
mod settings;
mod token;
mod writer;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_engine::sink::{Sink, SinkContext, StagedToken};
use tidemill_engine::{ConnectorError, Data, Record};

use self::files::{failed, refuse_later_parts, remove_unnamed};
use self::settings::Partition;
pub use self::settings::RollSettings;
use self::token::Token;
pub use self::writer::FileWriter;
#[cfg(feature = "parquet")]
use super::columns::Parquet;
use super::part::{Format, JsonLines};

/// A sink that writes records into part files of a folder, exactly once: lines of JSON, or rows of Parquet.
///
/// * Guarantee: exactly once. The records of a part appear together, when the checkpoint of its last epoch is committed.
///   The content of a part never changes. `ls *.jsonl` (or `*.parquet`) never shows a part that may be withdrawn.
/// * Without a checkpoint directory parts appear at the same pace, but a restart begins from the start.
pub struct FileSink<T> {
    folder: PathBuf,
    format: Arc<dyn Format<T>>,
    partition: Option<Arc<Partition<T>>>,
    roll: RollSettings,
}

impl<T: Data> FileSink<T> {
    /// Returns a sink that writes JSON lines into `folder`, which is created if it does not exist.
    pub fn json_lines(folder: impl Into<PathBuf>) -> Self {
        Self::with(folder.into(), Arc::new(JsonLines::default()))
    }

    /// Returns a sink that writes rows of Parquet into `folder`, which is created if it does not exist. Each field of a
    /// record is a column, and a field that is a struct a column of structs. NaN stays NaN. By default a part has the rows
    /// of an epoch: let parts of a good size gather with [`roll`](Self::roll).
    ///
    /// A type with a map, or with an enum that has data, has no columns: the job does not start.
    #[cfg(feature = "parquet")]
    pub fn parquet(folder: impl Into<PathBuf>) -> Self {
        Self::parquet_with(folder, [])
    }

    /// Returns a sink as [`parquet`](Self::parquet) does, whose files have these keys and values in their metadata.
    #[cfg(feature = "parquet")]
    pub fn parquet_with(folder: impl Into<PathBuf>, metadata: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::with(folder.into(), Arc::new(Parquet::with_metadata(metadata)))
    }

    fn with(folder: PathBuf, format: Arc<dyn Format<T>>) -> Self {
        Self { folder, format, partition: None, roll: RollSettings::default() }
    }

    /// Lets the records of several epochs gather in a part, until it is old or large enough. They appear together, with the
    /// checkpoint of the last of these epochs. The end of the job closes its parts, and so does a restart.
    #[must_use]
    pub fn roll(mut self, roll: RollSettings) -> Self {
        self.roll = roll;
        self
    }

    /// Writes each record into the folder that `partition` names, below that of the sink, as `"country=DE"`. Tools that read
    /// Hive's layout take such names for columns.
    ///
    /// A name that is no path below the folder stops the job, and so do more than 256 folders in an epoch.
    #[must_use]
    pub fn partitioned_by(mut self, partition: impl Fn(&Record<T>) -> String + Send + Sync + 'static) -> Self {
        self.partition = Some(Arc::new(partition));
        self
    }

    /// Writes each record into a folder of the day of its event time, in UTC: `dt=2026-11-30`.
    #[must_use]
    pub fn partitioned_by_day(self) -> Self {
        self.partitioned_by(|record| format!("dt={}", day_and_hour(record).0))
    }

    /// Writes each record into a folder of the hour of its event time, in UTC: `dt=2026-11-30/hour=07`.
    #[must_use]
    pub fn partitioned_by_hour(self) -> Self {
        self.partitioned_by(|record| {
            let (day, hour) = day_and_hour(record);
            format!("dt={day}/hour={hour}")
        })
    }
}

/// Returns the day and the hour of a record's event time, or twice `none` if it is no time of this calendar.
fn day_and_hour<T>(record: &Record<T>) -> (String, String) {
    let text = record.event_time.readable().to_string();
    match text.split_once('T') {
        Some((day, time)) => (day.to_owned(), time.chars().take(2).collect()),
        None => ("none".to_owned(), "none".to_owned()),
    }
}

impl<T: Data> Sink for FileSink<T> {
    type Item = T;
    type Writer = FileWriter<T>;

    fn open(&self, context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        // A type that cannot be written is refused before the job starts.
        drop(self.format.begin()?);
        let Self { folder, format, partition, roll } = self;
        Ok(FileWriter::new(folder.clone(), Arc::clone(format), partition.clone(), *roll, context))
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        refuse_later_parts(&self.folder, self.partition.is_some(), context.restored_epoch)?;
        for StagedToken { epoch, token } in tokens {
            let token = Token::read(&token, &context.name, epoch)?;
            // What waited in an earlier epoch waits in the last one, too, or is in a part since.
            let closed =
                if epoch == context.restored_epoch { token.closed(epoch, self.format.extension()) } else { Vec::new() };
            for part in token.parts.iter().chain(&closed) {
                let put_together = |pieces: &[PathBuf], part: &mut File| self.format.put_together(pieces, part);
                part.publish(&self.folder, &put_together, context.incarnation, true)?;
            }
        }
        remove_unnamed(&self.folder)
    }
}

#[cfg(test)]
mod tests;
