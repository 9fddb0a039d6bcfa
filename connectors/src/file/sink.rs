//! The file sink: it writes part files, each of which appears whole when its epoch commits.
//!
//! ```text
//! epoch runs     .part-w000-{incarnation}-{n}.inprogress   hidden, being written: its epoch is known when it closes
//! epoch closes   the delta holds {temporary name, final name, length}
//! before commit  the file is synced
//! committed      rename ▶ part-e0000000007-w000.jsonl      idempotent: the name is the marker
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_engine::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill_engine::{ConnectorError, Data, Epoch, ErrorKind, Record};

#[cfg(feature = "parquet")]
use super::columns::Parquet;
use super::part::{Format, JsonLines, Rows};

/// A sink that writes records into part files of a folder, exactly once: lines of JSON, or rows of Parquet.
///
/// * Guarantee: exactly once. The records of an epoch appear together, when its checkpoint is committed.
///   The content of a part never changes. `ls *.jsonl` (or `*.parquet`) never shows a part that may be withdrawn.
/// * Without a checkpoint directory parts appear at the same pace, but a restart begins from the start.
pub struct FileSink<T> {
    folder: PathBuf,
    format: Arc<dyn Format<T>>,
}

const IN_PROGRESS: &str = "inprogress";
const TOKEN_VERSION: u8 = 1;
/// Number of bytes that are buffered before they are written to the file.
const WRITE_SIZE: usize = 256 * 1024;

impl<T: Data> FileSink<T> {
    /// Returns a sink that writes JSON lines into `folder`, which is created if it does not exist.
    pub fn json_lines(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), format: Arc::new(JsonLines::default()) }
    }

    /// Returns a sink that writes rows of Parquet into `folder`, which is created if it does not exist. Each field of a
    /// record is a column, and a field that is a struct a column of structs. NaN stays NaN. A part has the rows of an
    /// epoch, so choose a checkpoint interval of minutes for files of a good size.
    ///
    /// A type with a map, or with an enum that has data, has no columns: the job does not start.
    #[cfg(feature = "parquet")]
    pub fn parquet(folder: impl Into<PathBuf>) -> Self {
        Self::parquet_with(folder, [])
    }

    /// Returns a sink as [`parquet`](Self::parquet) does, whose files have these keys and values in their metadata.
    #[cfg(feature = "parquet")]
    pub fn parquet_with(folder: impl Into<PathBuf>, metadata: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { folder: folder.into(), format: Arc::new(Parquet::with_metadata(metadata)) }
    }
}

/// A part that is staged until its epoch is committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    version: u8,
    temporary: String,
    name: String,
    len: u64,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ConnectorError {
    let message = format!("could not {what} \"{}\"", path.display());
    move |e| ConnectorError::caused(ErrorKind::Unavailable, message, e)
}

fn sync_folder(folder: &Path) -> Result<(), ConnectorError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("make durable", folder))
}

fn len_of(path: &Path) -> Result<Option<u64>, ConnectorError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("look at", path)(e)),
    }
}

impl Part {
    /// Reads what the sink `name` staged in an epoch.
    fn read(token: &[u8], name: &str, epoch: Epoch) -> Result<Self, ConnectorError> {
        /// The field that parts of all versions have.
        #[derive(Deserialize)]
        struct Versioned {
            version: u8,
        }
        let staged = || format!("what \"{name}\" staged in epoch {epoch}");
        let other = |e| ConnectorError::caused(ErrorKind::Data, format!("{} is not a part file", staged()), e);
        let Versioned { version } = serde_json::from_slice(token).map_err(other)?;
        if version != TOKEN_VERSION {
            let message =
                format!("{} is a part of version {version}, this build reads version {TOKEN_VERSION}", staged());
            return Err(ConnectorError::new(ErrorKind::Data, message));
        }
        serde_json::from_slice(token).map_err(other)
    }

    /// Makes the part visible, unless it is already.
    fn publish(&self, folder: &Path) -> Result<(), ConnectorError> {
        let (temporary, path) = (folder.join(&self.temporary), folder.join(&self.name));
        let wrong = |path: &Path, len: u64| {
            let (path, expected) = (path.display(), self.len);
            ConnectorError::new(
                ErrorKind::Data,
                format!(
                    "\"{path}\" has {len} bytes, the checkpoint says {expected}: it was changed by someone else; nothing was overwritten"
                ),
            )
        };
        match (len_of(&path)?, len_of(&temporary)?) {
            (Some(len), _) if len == self.len => Ok(()),
            (Some(len), _) => Err(wrong(&path, len)),
            (None, Some(len)) if len == self.len => {
                fs::rename(&temporary, &path).map_err(failed("publish", &path))?;
                sync_folder(folder)
            }
            (None, Some(len)) => Err(wrong(&temporary, len)),
            (None, None) => {
                // The temporary file disappears only when it is renamed, so the part was published and then removed.
                tracing::warn!(part = %path.display(), "a part file that the checkpoint names is gone; it had been published");
                Ok(())
            }
        }
    }
}

impl<T: Data> Sink for FileSink<T> {
    type Item = T;
    type Writer = FileWriter<T>;

    fn open(&self, context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        // A type that cannot be written is refused before the job starts.
        drop(self.format.begin()?);
        Ok(FileWriter {
            folder: self.folder.clone(),
            format: Arc::clone(&self.format),
            rows: None,
            worker: context.worker,
            incarnation: context.incarnation,
            part: 0,
            file: None,
            buffer: Vec::with_capacity(WRITE_SIZE * 2),
            len: 0,
        })
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        refuse_later_parts(&self.folder, context.restored_epoch)?;
        for StagedToken { epoch, token } in tokens {
            Part::read(&token, &context.name, epoch)?.publish(&self.folder)?;
        }
        remove_unnamed(&self.folder)
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>, ConnectorError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    entries.map(|entry| Ok(entry.map_err(failed("list", folder))?.file_name().to_string_lossy().into_owned())).collect()
}

/// Returns the epoch in the name of a published part.
fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix("part-e")?.split_once("-w")?.0.parse().ok()
}

/// Refuses parts of epochs that this job has not run yet: they are from another run, and lines would appear twice.
fn refuse_later_parts(folder: &Path, restored: Epoch) -> Result<(), ConnectorError> {
    let Some(name) = names_in(folder)?.into_iter().find(|name| epoch_of(name).is_some_and(|epoch| epoch > restored.0))
    else {
        return Ok(());
    };
    let started = match restored.0 {
        0 => "this run starts anew".to_owned(),
        epoch => format!("this run goes on from epoch {epoch}"),
    };
    let folder = folder.display();
    Err(ConnectorError::new(
        ErrorKind::Invalid,
        format!(
            "folder \"{folder}\" has \"{name}\" of another run, and {started}: published output is not removed; \
             restore that run's checkpoint, or write to an empty folder"
        ),
    ))
}

/// Removes the temporary files of epochs that never committed. The caller has already published every part that a
/// token names.
fn remove_unnamed(folder: &Path) -> Result<(), ConnectorError> {
    let unnamed =
        names_in(folder)?.into_iter().filter(|name| name.ends_with(IN_PROGRESS)).map(|name| folder.join(name));
    unnamed.into_iter().try_for_each(|path| match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path)(e)),
        _ => Ok(()),
    })
}

/// The writer of one worker of a [`FileSink`].
pub struct FileWriter<T> {
    folder: PathBuf,
    format: Arc<dyn Format<T>>,
    rows: Option<Box<dyn Rows<T>>>,
    worker: usize,
    incarnation: u64,
    /// Number of the current part. Temporary files are numbered, because their epoch is known only when it closes.
    part: u64,
    file: Option<(PathBuf, File)>,
    buffer: Vec<u8>,
    len: u64,
}

impl<T> FileWriter<T> {
    fn write_out(&mut self) -> Result<(), ConnectorError> {
        let (path, file) = match &mut self.file {
            Some(open) => open,
            none => {
                let Self { worker, incarnation, part, .. } = self;
                let path = self.folder.join(format!(".part-w{worker:03}-{incarnation:016x}-{part}.{IN_PROGRESS}"));
                *part += 1;
                let file = File::create(&path).map_err(failed("create", &path))?;
                none.insert((path, file))
            }
        };
        file.write_all(&self.buffer).map_err(failed("write", path))?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl<T: Data> SinkWriter for FileWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            none => none.insert(self.format.begin()?),
        };
        rows.write(&record.data, &mut self.buffer)?;
        if self.buffer.len() >= WRITE_SIZE { self.write_out() } else { Ok(()) }
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let Some(rows) = self.rows.take() else { return Ok(None) };
        rows.finish(&mut self.buffer)?;
        self.write_out()?;
        self.buffer.shrink_to(WRITE_SIZE * 2);
        let Some((path, file)) = self.file.take() else { return Ok(None) };
        let temporary = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("part-e{:010}-w{:03}{}", epoch.0, self.worker, self.format.extension());
        let part = Part { version: TOKEN_VERSION, temporary, name, len: std::mem::take(&mut self.len) };
        let token = serde_json::to_vec(&part)
            .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "a part's token cannot be encoded", e))?;
        let folder = self.folder.clone();
        Ok(Some(Staged {
            token,
            flush: Box::new(move || file.sync_data().map_err(failed("make durable", &path))),
            publish: Box::new(move || part.publish(&folder)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_engine::{Arrival, Clock, EventTime};

    fn context(incarnation: u64) -> SinkContext {
        let mut context = SinkContext::without_job("out", 0, 1, Clock::manual(Arrival(0)));
        (context.restored_epoch, context.incarnation) = (Epoch(1), incarnation);
        context
    }

    fn record(n: u32) -> Record<u32> {
        Record { event_time: EventTime(0), arrival: Arrival(0), data: n }
    }

    fn visible(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    #[test]
    fn a_part_appears_when_it_is_published_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::<u32>::json_lines(dir.path());
        let mut writer = sink.open(context(1)).unwrap();
        assert!(writer.stage(Epoch(1)).unwrap().is_none(), "no part for nothing");
        writer.write(&record(7)).unwrap();
        let staged = writer.stage(Epoch(2)).unwrap().unwrap();
        (staged.flush)().unwrap();
        assert_eq!(visible(dir.path()), [""; 0]);
        (staged.publish)().unwrap();
        assert_eq!(visible(dir.path()), ["part-e0000000002-w000.jsonl"]);
        assert_eq!(fs::read_to_string(dir.path().join("part-e0000000002-w000.jsonl")).unwrap(), "7\n");
    }

    #[test]
    fn recovery_publishes_what_was_staged_and_clears_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::<u32>::json_lines(dir.path());
        let mut writer = sink.open(context(1)).unwrap();
        writer.write(&record(1)).unwrap();
        let staged = writer.stage(Epoch(1)).unwrap().unwrap();
        writer.write(&record(2)).unwrap();
        drop(writer.stage(Epoch(2)).unwrap());
        drop(writer);
        let token = StagedToken { epoch: Epoch(1), token: staged.token };
        for _ in 0..2 {
            sink.recover(&context(2), vec![token.clone()]).unwrap();
            assert_eq!(visible(dir.path()), ["part-e0000000001-w000.jsonl"]);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        let staged = String::from_utf8(token.token.clone()).unwrap();
        for (token, says) in [
            (staged.replace("\"version\":1", "\"version\":2"), "\"out\" staged in epoch 1 is a part of version 2"),
            (r#"{"version":2}"#.to_owned(), "this build reads version 1"),
            (r#"{"version":1}"#.to_owned(), "\"out\" staged in epoch 1 is not a part file"),
            (String::new(), "is not a part file"),
        ] {
            let token = StagedToken { epoch: Epoch(1), token: token.into_bytes() };
            let error = sink.recover(&context(2), vec![token]).unwrap_err();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(says), "{error}");
        }
        let mut fresh = context(3);
        fresh.restored_epoch = Epoch(0);
        assert!(sink.recover(&fresh, Vec::new()).unwrap_err().to_string().contains("of another run"));
        fs::write(dir.path().join("part-e0000000001-w000.jsonl"), "changed").unwrap();
        assert!(sink.recover(&context(3), vec![token]).unwrap_err().to_string().contains("changed by someone else"));
    }
}
