//! The file source: one or more files, read together.
//!
//! ```text
//! bounded    every worker reads its pieces of every file, always next from the file whose watermark is lowest:
//!            files that cover the same time, or one after the other, are merged and nothing piles up
//! followed   every file is read by one worker, in order; the watermark does not wait for files silent for `idle_after`
//! ```

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime};

use super::bounded::Bounded;
use super::follow::{Followed, Following, LostFile};
use super::piece::Malformed;
use super::position::{self, FilePosition, Merged};
use crate::malformed::{MaxMalformed, Tolerated};

/// Interval at which followed files are checked when none has grown.
const POLL: Duration = Duration::from_millis(100);
/// Number of followed files without new lines that are checked while another file has some.
const LOOKS: usize = 8;
/// Number of bounded files that stay open from the start until their turn comes, because opening a file again costs as
/// much as reading a piece of it.
const LEFT_OPEN: usize = 256;

type TimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;
type Convert<L, T> = Arc<dyn Fn(L) -> T + Send + Sync>;

/// A source that reads records of type `T` from files, each from a line (or a Parquet row) of type `L`.
///
/// * Time, order: the watermark of a file is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness). The watermark of the source is the least over its files,
///   except followed files that are idle ([`idle_after`](Self::idle_after)). One worker reads a followed file, in
///   order.
/// * Guarantee: positions are exact. After a restore each line is read once, by any number of workers. A position
///   identifies its file: another file of the same name is refused or, if files are followed, read after the former
///   one.
/// * A line that cannot be decoded becomes a dead letter with file, line (or row) number and reason.
pub struct FileSource<T, L = T> {
    paths: Vec<PathBuf>,
    event_time: TimeOf<T>,
    convert: Convert<L, T>,
    max_out_of_orderness: Duration,
    max_malformed: MaxMalformed,
    max_ahead: Option<Duration>,
    follow: bool,
    idle_after: Duration,
    lost_file: LostFile,
    line: PhantomData<fn() -> L>,
}

impl<T: Data> FileSource<T> {
    /// Returns a source that reads `paths`, in the format that each extension names
    /// ([`by_extension`](super::by_extension)). `event_time` returns the event time of a record.
    pub fn new<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        Self::converted(paths, |line| line, event_time)
    }
}

impl<T: Data, L: DeserializeOwned + 'static> FileSource<T, L> {
    /// Default limit of malformed lines: the job stops when a worker cannot decode more than this many of its last
    /// 10,000 lines.
    pub const MAX_MALFORMED: u64 = 1000;

    /// Returns a source as [`new`](FileSource::new) does, with a conversion from the type of a line to the type of a
    /// record.
    pub fn converted<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        convert: impl Fn(L) -> T + Send + Sync + 'static,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            event_time: Arc::new(event_time),
            convert: Arc::new(convert),
            max_out_of_orderness: Duration::ZERO,
            max_malformed: MaxMalformed::default(),
            max_ahead: None,
            follow: false,
            idle_after: Duration::from_secs(5),
            lost_file: LostFile::Stop,
            line: PhantomData,
        }
    }

    /// Sets how far a record may be behind the latest event time of its file without being late, in whole milliseconds.
    /// Default: 0.
    #[must_use]
    pub fn max_out_of_orderness(mut self, bound: Duration) -> Self {
        self.max_out_of_orderness = bound;
        self
    }

    /// Sets when malformed lines stop the job: at a total, at a share of the lines read last, at either of them, or
    /// never. Default: [`MaxMalformed::default`].
    #[must_use]
    pub fn max_malformed(mut self, limit: MaxMalformed) -> Self {
        self.max_malformed = limit;
        self
    }

    /// Sets how far ahead of the clock an event time may be. A record beyond that becomes a dead letter and does not
    /// advance the watermark. Default: the setting of the job (`JobSettings::max_ahead`).
    #[must_use]
    pub fn max_ahead(mut self, bound: Duration) -> Self {
        self.max_ahead = Some(bound);
        self
    }

    /// Makes the source follow its files: it continues to read as they grow, until the job is stopped. Only
    /// uncompressed CSV and JSON lines can be followed. The last line is read once its newline is written. When a file
    /// is rotated, the old one is read to its end, and then the new one.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Sets the time after which a followed file is idle: no line was read from it for this long, and it has no more.
    /// The watermark does not wait for idle files; it waits for every file that has new lines more often. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.idle_after = time;
        self
    }

    /// Sets what happens when unread lines of a followed file may be lost. Default: the job stops.
    #[must_use]
    pub fn lost_file(mut self, then: LostFile) -> Self {
        self.lost_file = then;
        self
    }
}

impl<T: Data, L: DeserializeOwned + 'static> Source for FileSource<T, L> {
    type Item = T;
    type Reader = FileReader<T, L>;

    fn max_ahead(&self) -> Option<Duration> {
        self.max_ahead
    }

    fn max_out_of_orderness(&self) -> Duration {
        self.max_out_of_orderness
    }

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        if self.paths.is_empty() {
            return Err(ConnectorError::new(ErrorKind::Invalid, "no file to read was given"));
        }
        let restored = position::restored(&context.restored, &self.paths)?;
        let lines = Lines {
            event_time: Arc::clone(&self.event_time),
            convert: Arc::clone(&self.convert),
            max_out_of_orderness: self.max_out_of_orderness,
            malformed: Tolerated::new(&context.name, self.max_malformed, "lines"),
        };
        let files = if self.follow {
            let following = Following {
                idle_after: self.idle_after,
                lost: self.lost_file,
                lost_files: context.metrics.counter("lost_files"),
                rotations: context.metrics.counter("rotations"),
            };
            let files = self.paths.iter().zip(restored).enumerate();
            let own = files.filter(|(index, _)| index % context.workers == context.worker);
            let open = |(_, (path, restored)): (usize, (&PathBuf, Vec<FilePosition>))| {
                Followed::open(path, following.clone(), Merged::of(restored))
            };
            Files::Followed { files: own.map(open).collect::<Result<_, _>>()?, next_look: 0 }
        } else {
            let mut files = Vec::new();
            for (path, restored) in self.paths.iter().zip(restored) {
                let mut file = Bounded::open::<L>(path, &context, Merged::of(restored))?;
                // A single file need not be ordered among others.
                if self.paths.len() > 1 {
                    lines.look_ahead(&mut file)?;
                }
                if file.finished || files.len() >= LEFT_OPEN {
                    file.close();
                }
                files.push(file);
            }
            Files::Bounded(files)
        };
        Ok(FileReader { lines, files })
    }
}

/// The conversion of lines into records, dead letters and watermarks.
struct Lines<T, L> {
    event_time: TimeOf<T>,
    convert: Convert<L, T>,
    max_out_of_orderness: Duration,
    malformed: Tolerated,
}

impl<T: Data, L: DeserializeOwned> Lines<T, L> {
    /// Emits a record, unless it is too far ahead. Returns its event time.
    fn push(&self, path: &Path, line: L, batch: &mut Batch<T>) -> Option<EventTime> {
        let record = (self.convert)(line);
        let event_time = (self.event_time)(&record);
        batch.admit(event_time, record, || path.display().to_string()).then_some(event_time)
    }

    /// Emits a line that could not be decoded as a dead letter.
    fn refuse(&mut self, path: &Path, line: Malformed, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let Malformed { number, reason, content } = line;
        let origin = format!("{}:{number}", path.display());
        self.malformed.refuse(batch, origin, reason, &content)
    }

    /// Returns the watermark of a file after records up to `latest`; it was `before`.
    fn watermark(&self, before: EventTime, latest: Option<EventTime>) -> EventTime {
        latest.map_or(before, |latest| (latest - self.max_out_of_orderness).max(before))
    }

    /// Finds the event time from which a file has records, so that it need not be open before its turn.
    fn look_ahead(&self, file: &mut Bounded) -> Result<(), ConnectorError> {
        let first = file.first::<L>()?.into_iter().map(|line| (self.event_time)(&(self.convert)(line))).min();
        file.watermark = self.watermark(file.watermark, first);
        Ok(())
    }

    fn read_bounded(&mut self, file: &mut Bounded, batch: &mut Batch<T>) -> Result<bool, ConnectorError> {
        let (mut latest, mut malformed, before) = (None, Vec::new(), batch.records().len());
        let path = file.path().to_owned();
        let read = file.read::<L>(|line| match line {
            Ok(line) => latest = latest.max(self.push(&path, line, batch)),
            Err(line) => malformed.push(line),
        })?;
        self.malformed.read((batch.records().len() - before) as u64);
        malformed.into_iter().try_for_each(|line| self.refuse(file.path(), line, batch))?;
        file.watermark = self.watermark(file.watermark, latest);
        Ok(read)
    }

    fn read_followed(&mut self, file: &mut Followed, batch: &mut Batch<T>) -> Result<bool, ConnectorError> {
        let mut found = Vec::new();
        let read = file.read::<L>(&mut found, batch.now())?;
        let (mut latest, before) = (None, batch.records().len());
        for line in found {
            match line {
                Ok(line) => latest = latest.max(self.push(file.path(), line, batch)),
                Err(line) => self.refuse(file.path(), line, batch)?,
            }
        }
        self.malformed.read((batch.records().len() - before) as u64);
        file.watermark = self.watermark(file.watermark, latest);
        Ok(read)
    }
}

enum Files {
    Bounded(Vec<Bounded>),
    /// The files that this worker follows. `next_look` counts those without new lines in turn, to check each of them.
    Followed {
        files: Vec<Followed>,
        next_look: usize,
    },
}

/// The reader of one worker: it reads the worker's share of the files.
pub struct FileReader<T, L> {
    lines: Lines<T, L>,
    files: Files,
}

impl<T: Data, L: DeserializeOwned + 'static> FileReader<T, L> {
    fn read_bounded(
        lines: &mut Lines<T, L>,
        files: &mut [Bounded],
        batch: &mut Batch<T>,
    ) -> Result<Next, ConnectorError> {
        while let Some(file) = files.iter_mut().filter(|file| !file.finished).min_by_key(|file| file.watermark) {
            if lines.read_bounded(file, batch)? {
                break;
            }
        }
        let open = files.iter().filter(|file| !file.finished);
        Ok(match open.map(|file| file.watermark).min() {
            Some(watermark) => {
                batch.advance_watermark(watermark);
                Next::Now
            }
            None => Next::Done,
        })
    }

    fn read_followed(
        lines: &mut Lines<T, L>,
        files: &mut [Followed],
        next_look: &mut usize,
        batch: &mut Batch<T>,
    ) -> Result<Next, ConnectorError> {
        // Files that have lines are read first where they are furthest behind. Of the others, some are checked in turn.
        let (had, mut order): (Vec<usize>, Vec<usize>) = (0..files.len()).partition(|index| files[*index].is_at_end());
        let looks = if order.is_empty() { had.len() } else { LOOKS.min(had.len()) };
        order.extend((0..looks).map(|n| had[(*next_look + n) % had.len()]));
        *next_look = next_look.wrapping_add(looks);
        order.sort_by_key(|index| files[*index].watermark);
        let mut read = false;
        for index in order {
            read = lines.read_followed(&mut files[index], batch)?;
            if read {
                break;
            }
        }
        match files.iter().filter_map(Followed::holds).min() {
            Some(watermark) => batch.advance_watermark(watermark),
            None => {
                // All files are idle, so the watermark may follow the latest record read.
                if let Some(latest) = files.iter().map(|file| file.watermark).max() {
                    batch.advance_watermark(latest);
                }
                batch.mark_idle();
            }
        }
        let may_have_more = files.iter().any(|file| !file.is_at_end());
        Ok(if read || may_have_more { Next::Now } else { Next::After(POLL) })
    }
}

impl<T: Data, L: DeserializeOwned + 'static> SourceReader for FileReader<T, L> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        match &mut self.files {
            Files::Bounded(files) => Self::read_bounded(&mut self.lines, files, batch),
            // Files are divided among the workers once, so a worker without files never gets one.
            Files::Followed { files, .. } if files.is_empty() => Ok(Next::Done),
            Files::Followed { files, next_look } => Self::read_followed(&mut self.lines, files, next_look, batch),
        }
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        position::encode(match &self.files {
            Files::Bounded(files) => files.iter().map(Bounded::position).collect(),
            Files::Followed { files, .. } => files.iter().map(Followed::position).collect(),
        })
    }
}
