//! The writer of one worker.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_engine::sink::{SinkContext, SinkWriter, Staged};
use tidemill_engine::{Arrival, Clock, ConnectorError, Data, Epoch, ErrorKind, Record};

use super::files::{IN_PROGRESS, failed, sync_folder};
use super::settings::{Partition, RollSettings};
use super::token::{Piece, Token, parts_of};
use crate::file::part::{Format, Rows};

/// Number of bytes that are buffered before they are written to a file.
const WRITE_SIZE: usize = 256 * 1024;
/// Largest number of folders that records of one epoch go to.
const MOST_FOLDERS: usize = 256;
/// Number of pieces from which on the parts are closed: each epoch names all that wait.
const MOST_WAITING: usize = 4096;
/// Longest name of a folder, with those above it.
const LONGEST: usize = 1000;

/// The writer of one worker of a [`FileSink`](super::FileSink).
pub struct FileWriter<T> {
    folder: PathBuf,
    format: Arc<dyn Format<T>>,
    partition: Option<Arc<Partition<T>>>,
    roll: RollSettings,
    worker: usize,
    incarnation: u64,
    clock: Clock,
    /// Number of the next piece. Hidden files are numbered, because their epoch is known only when it closes.
    number: u64,
    /// The pieces of this epoch, and which one had the last record.
    open: Vec<Open<T>>,
    last: usize,
    /// The pieces of earlier epochs that wait, and since when the oldest one does.
    waiting: Vec<Piece>,
    since: Option<Arrival>,
    ends: bool,
}

/// A piece that is being written.
struct Open<T> {
    folder: String,
    rows: Box<dyn Rows<T>>,
    file: Hidden,
}

/// The file of a piece.
struct Hidden {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    len: u64,
}

impl<T: Data> FileWriter<T> {
    pub(super) fn new(
        folder: PathBuf,
        format: Arc<dyn Format<T>>,
        partition: Option<Arc<Partition<T>>>,
        roll: RollSettings,
        context: SinkContext,
    ) -> Self {
        let SinkContext { worker, incarnation, clock, .. } = context;
        Self {
            folder,
            format,
            partition,
            roll,
            worker,
            incarnation,
            clock,
            number: 0,
            open: Vec::new(),
            last: 0,
            waiting: Vec::new(),
            since: None,
            ends: false,
        }
    }

    /// Returns the piece of a folder.
    fn open(&mut self, folder: String) -> Result<usize, ConnectorError> {
        if let Some(at) = self.open.iter().position(|open| open.folder == folder) {
            return Ok(at);
        }
        if self.partition.is_some() && !is_below(&folder) {
            let message = format!("a record goes to the folder \"{folder}\", which is no path below that of the sink");
            return Err(ConnectorError::new(ErrorKind::Invalid, message));
        }
        if self.open.len() == MOST_FOLDERS {
            let message = format!(
                "records of one epoch go to more than {MOST_FOLDERS} folders, among them \"{folder}\": each is a file, so \
                 name fewer, as by day instead of by hour"
            );
            return Err(ConnectorError::new(ErrorKind::Invalid, message));
        }
        let Self { worker, incarnation, number, .. } = self;
        let path = self.folder.join(format!(".part-w{worker:03}-{incarnation:016x}-{number}.{IN_PROGRESS}"));
        *number += 1;
        let rows = self.format.begin()?;
        let file = Hidden { path, file: None, buffer: Vec::with_capacity(WRITE_SIZE * 2), len: 0 };
        self.open.push(Open { folder, rows, file });
        Ok(self.open.len() - 1)
    }

    /// Returns whether what waits becomes parts now.
    fn closes(&self) -> bool {
        let RollSettings { interval, max_bytes } = self.roll;
        let waited = self.since.map_or(0, |since| self.clock.now().0.saturating_sub(since.0));
        self.ends
            || u128::from(waited) >= interval.as_micros()
            || self.waiting.len() >= MOST_WAITING
            || self.waiting.iter().map(|piece| piece.len).sum::<u64>() >= max_bytes
    }
}

/// Returns whether a folder of this name can be made below another one, and has no second name.
fn is_below(folder: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    folder.len() <= LONGEST && !folder.contains('\0') && folder.split('/').all(is_name)
}

impl Hidden {
    fn write_out(&mut self) -> Result<(), ConnectorError> {
        let Self { path, file, buffer, len, .. } = self;
        let file = match file {
            Some(file) => file,
            none => none.insert(File::create(&*path).map_err(failed("create", path))?),
        };
        file.write_all(buffer).map_err(failed("write", path))?;
        *len += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }
}

impl<T: Data> SinkWriter for FileWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        let folder = self.partition.as_ref().map(|partition| partition(record)).unwrap_or_default();
        if self.open.get(self.last).is_none_or(|open| open.folder != folder) {
            self.last = self.open(folder)?;
        }
        let Some(open) = self.open.get_mut(self.last) else { return Ok(()) };
        let Open { rows, file, .. } = open;
        rows.write(&record.data, &mut file.buffer)?;
        if file.buffer.len() >= WRITE_SIZE { file.write_out() } else { Ok(()) }
    }

    fn ends(&mut self) {
        self.ends = true;
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let mut written = Vec::new();
        for Open { folder, rows, mut file } in std::mem::take(&mut self.open) {
            rows.finish(&mut file.buffer)?;
            file.write_out()?;
            let Hidden { path, len, .. } = file;
            let temporary = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.waiting.push(Piece { temporary, folder, len });
            written.push(path);
        }
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        self.since.get_or_insert(now);
        let mut parts = Vec::new();
        if self.closes() {
            self.since = None;
            parts = parts_of(std::mem::take(&mut self.waiting), epoch, self.worker, self.format.extension());
        }
        let token = Token::new(self.worker, parts, self.waiting.clone());
        let (bytes, folder) = (token.encode()?, self.folder.clone());
        let flush = move || {
            if written.is_empty() {
                return Ok(());
            }
            // Opened again: an epoch may have more files than a process may have open.
            let sync = |path: &PathBuf| File::open(path).and_then(|file| file.sync_data());
            written.iter().try_for_each(|path| sync(path).map_err(failed("make durable", path)))?;
            sync_folder(&folder)
        };
        let (folder, format, incarnation) = (self.folder.clone(), Arc::clone(&self.format), self.incarnation);
        let publish = move || {
            let put_together = |pieces: &[PathBuf], part: &mut File| format.put_together(pieces, part);
            token.parts.iter().try_for_each(|part| part.publish(&folder, &put_together, incarnation, false))
        };
        Ok(Some(Staged { token: bytes, flush: Box::new(flush), publish: Box::new(publish) }))
    }
}
