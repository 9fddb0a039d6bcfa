//! The reader, which checks the file for changes and emits its versions.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::{Counter, Gauge};
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{Arrival, ConnectorError, Data, DeadLetter, EventTime, with_causes};
use tidemill_state::Key;

use super::rows::{BUCKETS, Bucket};
use super::settings::{ReferenceFile, Version};
use super::version::{Loading, Refusal, Stamp};
use crate::file::by_extension;
use crate::file::error::invalid;
use crate::position::{self, Position};

/// The versions of a file, each as all buckets of its rows.
pub(super) struct VersionSource<K, V, L>(pub(super) ReferenceFile<K, V, L>);

/// The stored position of one worker. It is empty for all workers except the one that reads.
#[derive(Default, Serialize, Deserialize)]
struct Share {
    /// The last version that was emitted as a whole.
    emitted: Option<Emitted>,
    /// The event time of the version that was being emitted.
    begun: Option<EventTime>,
}

/// A version: its event time and its number of rows.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Emitted {
    event_time: EventTime,
    rows: u64,
}

impl Position for Share {
    const VERSION: u8 = 2;
    const OF: &'static str = "a reference file's";
}

impl<K: Key + Data, V: Data, L: DeserializeOwned + 'static> Source for VersionSource<K, V, L> {
    type Item = Bucket<K, V>;
    type Reader = ReferenceReader<K, V, L>;

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        let Self(file) = self;
        if by_extension(&file.path).is_none() {
            return Err(invalid(
                &file.path,
                "its name does not say which format it has, as .csv, .jsonl or .parquet do",
            ));
        }
        file.check()?;
        let Share { emitted, begun } = restored(&context.restored)?;
        let is_fresh = emitted.is_none() && begun.is_none();
        let print = is_fresh.then(|| Bucket::<K, V>::print(&[]));
        Ok(ReferenceReader {
            file: file.clone(),
            name: context.name,
            is_reading: context.worker == 0,
            emitted,
            begun,
            state: State::Waiting,
            sent: vec![print; usize::from(BUCKETS)],
            next_look: Arrival(0),
            looked: None,
            taken: None,
            refused: None,
            said: None,
            versions: context.metrics.counter("versions"),
            refused_versions: context.metrics.counter("refused_versions"),
            rows: context.metrics.gauge("rows"),
        })
    }
}

/// Returns the position of the worker that had read the file.
fn restored(positions: &[Vec<u8>]) -> Result<Share, ConnectorError> {
    let mut found = Share::default();
    for bytes in positions {
        let position: Share = position::decode(bytes)?;
        if position.emitted.is_some() || position.begun.is_some() {
            found = position;
        }
    }
    Ok(found)
}

/// The buckets of a version that are still to be sent, each with its hash.
type Buckets<K, V> = Box<dyn Iterator<Item = (Bucket<K, V>, u64)>>;

enum State<K, V> {
    Waiting,
    Loading(Box<Loading<K, V>>),
    Sending { version: Emitted, buckets: Buckets<K, V> },
}

/// One worker's reader. Only worker 0 reads the file.
pub(crate) struct ReferenceReader<K, V, L> {
    file: ReferenceFile<K, V, L>,
    name: String,
    is_reading: bool,
    emitted: Option<Emitted>,
    /// The event time of a version of which a part was emitted, or may have been.
    begun: Option<EventTime>,
    state: State<K, V>,
    /// The hash of each bucket as it was last sent in this run.
    sent: Vec<Option<u64>>,
    next_look: Arrival,
    /// The attributes of the file at the last check.
    looked: Option<Stamp>,
    /// The version that was last accepted.
    taken: Option<Stamp>,
    /// The version that was last refused.
    refused: Option<Stamp>,
    /// The reason of the last refusal, so that one that persists is reported once.
    said: Option<String>,
    versions: Counter,
    refused_versions: Counter,
    rows: Gauge,
}

impl<K: Key + Data, V: Data, L: DeserializeOwned + 'static> ReferenceReader<K, V, L> {
    /// Returns whether a whole version was emitted, and nothing of a later one.
    fn is_whole(&self) -> bool {
        self.emitted.is_some() && self.begun.is_none()
    }

    /// Checks the file when it is time to, and begins to read it if it has changed.
    fn look(&mut self, batch: &mut Batch<Bucket<K, V>>) -> Result<(), ConnectorError> {
        if batch.now() < self.next_look {
            return Ok(());
        }
        let every = u64::try_from(self.file.reload_every.as_micros()).unwrap_or(u64::MAX);
        let is_first = self.next_look == Arrival(0);
        self.next_look = Arrival(batch.now().0.saturating_add(every.max(1)));
        let stamp = match Stamp::of(&self.file.path) {
            Ok(stamp) => stamp,
            Err(e) => return self.refuse(Refusal::unreadable(&self.file.path, e), batch),
        };
        let is_still = self.looked.replace(stamp) == Some(stamp);
        if self.taken == Some(stamp) {
            self.said = None;
            return Ok(());
        }
        if self.refused == Some(stamp) || !(is_still || is_first) {
            return Ok(());
        }
        match Loading::open::<L>(&self.file.path, stamp) {
            Ok(loading) => self.state = State::Loading(Box::new(loading)),
            Err(refusal) => {
                self.refused = refusal.is_lasting().then_some(stamp);
                self.refuse(refusal, batch)?;
            }
        }
        Ok(())
    }

    /// Reads the next part. At the end of the file the version is ready to be sent, unless the file has changed
    /// meanwhile.
    fn load(&mut self, mut loading: Box<Loading<K, V>>, batch: &mut Batch<Bucket<K, V>>) -> Result<(), ConnectorError> {
        let stamp = loading.stamp;
        let rows_before = self.emitted.map_or(0, |emitted| emitted.rows);
        let result = loading.step(&self.file, rows_before);
        if matches!(result, Ok(false)) {
            self.state = State::Loading(loading);
            return Ok(());
        }
        match Stamp::of(&self.file.path) {
            // What was read may be a mixture of two versions, so it is dropped.
            Ok(now) if now != stamp => {
                tracing::debug!(source = self.name, "the reference file was written to while it was read");
                self.looked = Some(now);
                return Ok(());
            }
            Ok(_) => {}
            Err(e) => return self.refuse(Refusal::unreadable(&self.file.path, e), batch),
        }
        if let Err(refusal) = result {
            self.refused = refusal.is_lasting().then_some(stamp);
            return self.refuse(refusal, batch);
        }
        (self.taken, self.refused, self.said) = (Some(stamp), None, None);
        let version = Emitted { event_time: self.event_time(stamp, batch), rows: loading.rows };
        self.begun = Some(version.event_time);
        self.state = State::Sending { version, buckets: Box::new(loading.into_buckets()) };
        Ok(())
    }

    /// Returns the event time from which the version that is sent next is valid.
    fn event_time(&self, stamp: Stamp, batch: &Batch<Bucket<K, V>>) -> EventTime {
        let read = EventTime((batch.now().0 / 1000) as i64);
        let wished = match (self.begun, self.emitted) {
            // A part of a version was sent before a restore, so the rest gets a later time.
            (Some(begun), _) => begun.plus_ms(1),
            (None, emitted) => {
                let version = Version { first: emitted.is_none(), read, modified: stamp.modified() };
                let after = emitted.map_or(EventTime::MIN, |emitted| emitted.event_time.plus_ms(1));
                (self.file.as_of)(&version).max(after)
            }
        };
        wished.max(batch.reached())
    }

    /// Emits buckets of a version, except those that are unchanged since they were last sent in this run.
    fn send(&mut self, version: Emitted, mut buckets: Buckets<K, V>, batch: &mut Batch<Bucket<K, V>>) {
        let mut rows = 0;
        while batch.records().len() < Batch::<V>::LIMIT && rows < Batch::<V>::LIMIT {
            let Some((bucket, print)) = buckets.next() else {
                (self.emitted, self.begun) = (Some(version), None);
                self.versions.add(1);
                self.rows.set(i64::try_from(version.rows).unwrap_or(i64::MAX));
                return;
            };
            if self.sent[usize::from(bucket.bucket)].replace(print) != Some(print) {
                rows += bucket.rows.len();
                batch.push(version.event_time, bucket);
            }
        }
        self.state = State::Sending { version, buckets };
    }

    /// Refuses a version: the previous one stays in force. Returns an error if there is none.
    fn refuse(&mut self, refusal: Refusal, batch: &mut Batch<Bucket<K, V>>) -> Result<(), ConnectorError> {
        let reason = with_causes(&refusal.error);
        if !self.is_whole() {
            let what = if self.begun.is_some() {
                "only a part of a version was emitted when the job ended, and the file is not a complete version \
                 now: put one there, and start the job again"
            } else {
                "no version of the file was read before, so there is none to continue with: put a complete one \
                 there, and start the job again"
            };
            return Err(ConnectorError::caused(refusal.error.kind(), what, refusal.error));
        }
        if refusal.is_lasting() || self.said.as_ref() != Some(&reason) {
            tracing::warn!(
                source = self.name,
                reason,
                "a version of the reference file is refused, and the one before it stays in use"
            );
            self.refused_versions.add(1);
            batch.dead_letter(DeadLetter::new(&self.name, refusal.origin, reason.clone(), &refusal.content));
        }
        self.said = Some(reason);
        Ok(())
    }
}

impl<K: Key + Data, V: Data, L: DeserializeOwned + 'static> SourceReader for ReferenceReader<K, V, L> {
    type Item = Bucket<K, V>;

    fn read(&mut self, batch: &mut Batch<Bucket<K, V>>) -> Result<Next, ConnectorError> {
        if !self.is_reading {
            return Ok(Next::Done);
        }
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Waiting => self.look(batch)?,
            State::Loading(loading) => self.load(loading, batch)?,
            State::Sending { version, buckets } => self.send(version, buckets, batch),
        }
        if self.is_whole() {
            batch.mark_idle();
        }
        let wait = std::time::Duration::from_micros(self.next_look.0.saturating_sub(batch.now().0));
        Ok(match self.state {
            State::Loading(_) | State::Sending { .. } => Next::Now,
            State::Waiting if self.is_whole() => Next::Accompany(wait),
            State::Waiting => Next::After(wait),
        })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let Self { emitted, begun, .. } = self;
        position::encode(&Share { emitted: *emitted, begun: *begun })
    }
}
