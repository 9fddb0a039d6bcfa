//! The file source: one or more files, read together in pieces dealt out among the workers.
//!
//! Every worker reads its pieces of every file, always next from the file whose watermark is lowest,
//! so files that cover the same time, or one after the other, are merged and nothing piles up.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{ConnectorError, Data, DeadLetter, ErrorKind, EventTime};

use super::content::{Content, Malformed, Read};
use crate::dealt::{Dealt, DealtPosition};
use crate::malformed::{MaxMalformed, Tolerated};

/// How often a followed file is looked at when it has not grown.
const POLL: Duration = Duration::from_millis(100);

type TimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;
type Convert<L, T> = Arc<dyn Fn(L) -> T + Send + Sync>;

/// Reads records of type `T`, each from a line (or a Parquet row) of type `L`.
///
/// * Time, order: per file, the watermark is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness); of the source, the least over its files.
/// * Guarantee: positions are exact; after a restore each line is read once, by any number of workers.
/// * A line that cannot be decoded is a dead letter with file, line (or row) number and reason.
pub struct FileSource<T, L = T> {
    paths: Vec<PathBuf>,
    event_time: TimeOf<T>,
    convert: Convert<L, T>,
    max_out_of_orderness_ms: i64,
    max_malformed: MaxMalformed,
    max_ahead_ms: Option<i64>,
    follow: bool,
    line: PhantomData<fn() -> L>,
}

impl<T: Data> FileSource<T> {
    /// Reads `paths`; the extensions say how ([`by_extension`](super::by_extension)). `event_time` tells when a record happened.
    pub fn new<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        Self::converted(paths, |line| line, event_time)
    }
}

impl<T: Data, L: DeserializeOwned + 'static> FileSource<T, L> {
    /// More lines than this, of the last 10,000, that cannot be decoded stop the job, per worker.
    pub const MAX_MALFORMED: u64 = 1000;

    /// As [`new`](FileSource::new), with a conversion from the line's type to the record's.
    pub fn converted<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        convert: impl Fn(L) -> T + Send + Sync + 'static,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            event_time: Arc::new(event_time),
            convert: Arc::new(convert),
            max_out_of_orderness_ms: 0,
            max_malformed: MaxMalformed::default(),
            max_ahead_ms: None,
            follow: false,
            line: PhantomData,
        }
    }

    /// How far behind the latest event time a record may be without being late. Default: not at all.
    #[must_use]
    pub fn max_out_of_orderness(mut self, bound: Duration) -> Self {
        self.max_out_of_orderness_ms = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// How many lines of a worker may be malformed, since the start, before the job stops. Default: no such total, but
    /// [`MaxMalformed::default`].
    #[must_use]
    pub fn max_malformed(self, lines: u64) -> Self {
        self.malformed_limit(MaxMalformed::total(lines))
    }

    /// When malformed lines stop the job: a total, a share of what was read last, both, or never.
    #[must_use]
    pub fn malformed_limit(mut self, limit: MaxMalformed) -> Self {
        self.max_malformed = limit;
        self
    }

    /// How far ahead of the clock an event time may be. A record beyond is a dead letter and moves no watermark. Default: as the
    /// job says (`--max-ahead`).
    #[must_use]
    pub fn max_ahead(mut self, bound: Duration) -> Self {
        self.max_ahead_ms = Some(i64::try_from(bound.as_millis()).unwrap_or(i64::MAX));
        self
    }

    /// Goes on reading as the files grow, until the job is stopped. Uncompressed CSV and JSON lines
    /// only. What is written last is read once its newline is there.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }
}

/// What is stored of a worker's share; one entry per file, in the order of paths.
#[derive(Serialize, Deserialize)]
struct Position {
    version: u8,
    files: Vec<FilePosition>,
}

#[derive(Clone, Serialize, Deserialize)]
struct FilePosition {
    path: String,
    done: DealtPosition,
    /// Bytes of a chunk that were read while the file had no more, by chunk.
    partial: Vec<(u64, u64)>,
    watermark: i64,
    finished: bool,
}

const POSITION_VERSION: u8 = 1;

impl<T: Data, L: DeserializeOwned + 'static> Source for FileSource<T, L> {
    type Item = T;
    type Reader = FileReader<T, L>;

    fn max_ahead_ms(&self) -> Option<i64> {
        self.max_ahead_ms
    }

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        if self.paths.is_empty() {
            return Err(ConnectorError::new(ErrorKind::Invalid, "no file to read was given"));
        }
        let restored = restored_files(&context, &self.paths)?;
        let files = self.paths.iter().zip(restored);
        let files = files.map(|(path, restored)| OneFile::open::<L>(path, self.follow, &context, &restored));
        Ok(FileReader {
            name: context.name.clone(),
            files: files.collect::<Result<_, _>>()?,
            event_time: Arc::clone(&self.event_time),
            convert: Arc::clone(&self.convert),
            out_of_orderness: self.max_out_of_orderness_ms,
            malformed: Tolerated::new(self.max_malformed, "lines"),
            follow: self.follow,
            line: PhantomData,
        })
    }
}

/// The old workers' entries for each file.
fn restored_files(context: &SourceContext, paths: &[PathBuf]) -> Result<Vec<Vec<FilePosition>>, ConnectorError> {
    let mut restored: Vec<Vec<FilePosition>> = vec![Vec::new(); paths.len()];
    for bytes in &context.restored {
        let position: Position = serde_json::from_slice(bytes).map_err(|e| {
            ConnectorError::caused(ErrorKind::Data, "the position in the checkpoint is not a file source's", e)
        })?;
        if position.version != POSITION_VERSION {
            let found = position.version;
            return Err(ConnectorError::new(
                ErrorKind::Data,
                format!("the position in the checkpoint is of version {found}, this build reads {POSITION_VERSION}"),
            ));
        }
        for file in position.files {
            let index = paths.iter().position(|path| path.to_string_lossy() == file.path).ok_or_else(|| {
                ConnectorError::new(
                    ErrorKind::Invalid,
                    format!(
                        "the checkpoint was reading \"{}\", which this run does not: name the same files",
                        file.path
                    ),
                )
            })?;
            restored[index].push(file);
        }
    }
    Ok(restored)
}

/// One file as one worker reads it.
struct OneFile {
    path: PathBuf,
    content: Content,
    dealt: Dealt,
    watermark: EventTime,
    finished: bool,
}

impl OneFile {
    fn open<L: DeserializeOwned>(
        path: &Path,
        follow: bool,
        context: &SourceContext,
        restored: &[FilePosition],
    ) -> Result<Self, ConnectorError> {
        let dealt = Dealt::new(context.worker, context.workers, restored.iter().map(|file| &file.done));
        let partials = restored.iter().flat_map(|file| file.partial.clone()).collect();
        Ok(Self {
            path: path.to_owned(),
            content: Content::open::<L>(path, follow, &dealt, partials)?,
            dealt,
            watermark: EventTime(restored.iter().map(|file| file.watermark).min().unwrap_or(i64::MIN)),
            finished: !restored.is_empty() && restored.iter().all(|file| file.finished),
        })
    }

    fn position(&self) -> FilePosition {
        FilePosition {
            path: self.path.to_string_lossy().into_owned(),
            done: self.dealt.position(),
            partial: self.content.partials(self.dealt.next()),
            watermark: self.watermark.0,
            finished: self.finished,
        }
    }
}

/// One worker's share of the files.
pub struct FileReader<T, L> {
    name: String,
    files: Vec<OneFile>,
    event_time: TimeOf<T>,
    convert: Convert<L, T>,
    out_of_orderness: i64,
    malformed: Tolerated,
    follow: bool,
    line: PhantomData<fn() -> L>,
}

impl<T: Data, L: DeserializeOwned + 'static> FileReader<T, L> {
    /// Reads the next piece of a file. Returns whether there was one.
    fn read_piece(&mut self, index: usize, batch: &mut Batch<T>) -> Result<bool, ConnectorError> {
        let Some(file) = self.files.get_mut(index) else { return Ok(false) };
        let mut latest = file.watermark.plus_ms(self.out_of_orderness);
        let (mut malformed, before) = (Vec::new(), batch.records().len());
        let read = file.content.read::<L>(file.dealt.next(), |line| match line {
            Ok(line) => {
                let record = (self.convert)(line);
                let event_time = (self.event_time)(&record);
                if batch.admit(event_time, record, || file.path.display().to_string()) {
                    latest = latest.max(event_time);
                }
            }
            Err(line) => malformed.push(line),
        })?;
        self.malformed.read((batch.records().len() - before) as u64);
        for Malformed { number, reason, content } in malformed {
            let origin = format!("{}:{number}", file.path.display());
            self.malformed.malformed(&origin, &reason)?;
            batch.dead_letter(DeadLetter::new(&self.name, origin, reason, &content));
        }
        file.watermark = latest.plus_ms(-self.out_of_orderness).max(file.watermark);
        match read {
            Read::Whole { last } => {
                file.dealt.advance();
                file.content.begin(file.dealt.next());
                file.finished = last && !self.follow;
            }
            Read::Part => {}
            Read::Nothing => file.finished = !self.follow,
        }
        Ok(read != Read::Nothing)
    }
}

impl<T: Data, L: DeserializeOwned + 'static> SourceReader for FileReader<T, L> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let mut order: Vec<usize> = (0..self.files.len()).filter(|i| !self.files[*i].finished).collect();
        order.sort_by_key(|i| self.files[*i].watermark);
        let mut read = false;
        for index in order {
            if self.read_piece(index, batch)? {
                read = true;
                break;
            }
        }
        let open = self.files.iter().filter(|file| !file.finished);
        if let Some(watermark) = open.map(|file| file.watermark).min() {
            batch.advance_watermark(watermark);
        } else {
            return Ok(Next::Done);
        }
        if read {
            return Ok(Next::Now);
        }
        batch.mark_idle();
        Ok(if self.follow { Next::After(POLL) } else { Next::Now })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let files = self.files.iter().map(OneFile::position).collect();
        serde_json::to_vec(&Position { version: POSITION_VERSION, files })
            .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "the position cannot be encoded", e))
    }
}
