//! The reader of one worker's sessions.

use std::collections::BTreeMap;
use std::str;
use std::time::Duration;

use tidemill_engine::metrics::{Counter, Gauge, PartitionMetrics, PartitionState};
use tidemill_engine::source::{Batch, Next, SourceContext, SourceReader};
use tidemill_engine::{Arrival, ConnectorError, Data, EventTime};

use super::message::{Decode, EventTimeOf, MqttMessage, Received};
use super::position::{Ends, SessionPosition, Sessions, Stored};
use super::session::{Session, SessionMetrics};
use super::settings::SourceSettings;
use crate::inbox::{SplitProgress, Taken, promise};
use crate::malformed::Tolerated;
use crate::position;

/// Interval of reads if the reader is not woken, so that sessions become idle.
const LOOK: Duration = Duration::from_millis(50);
/// Number of messages taken from one session before the next one.
const STRIDE: usize = 128;

/// A session as a worker reads it.
struct Lane {
    id: String,
    session: Session,
    progress: SplitProgress,
    nothing_waits: bool,
    metrics: PartitionMetrics,
}

/// The reader of one worker of an [`MqttSource`](super::MqttSource).
pub struct MqttReader<T> {
    settings: SourceSettings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
    lanes: BTreeMap<usize, Lane>,
    /// The session that is read first next time.
    turn: usize,
    malformed: Tolerated,
    unsafe_messages: Counter,
    unacknowledged: Gauge,
}

impl<T: Data> MqttReader<T> {
    /// Opens the sessions `numbers`, and waits until each has subscribed.
    pub(super) fn open(
        settings: SourceSettings,
        decode: Decode<T>,
        event_time: Option<EventTimeOf<T>>,
        numbers: impl Iterator<Item = usize>,
        restored: &Sessions,
        context: &SourceContext,
    ) -> Result<Self, ConnectorError> {
        let metrics = SessionMetrics::new(&context.metrics);
        let mut lanes = BTreeMap::new();
        for number in numbers {
            let position = restored.get(&number);
            let session = Session::start(&settings, number, position, context.waker.clone(), metrics.clone())?;
            let (watermark, quiet_since) =
                position.map_or((i64::MIN, context.clock.now().0), |at| (at.watermark, at.quiet_since));
            let (watermark, quiet_since) = (EventTime(watermark), Arrival(quiet_since));
            let progress = SplitProgress::new(watermark, quiet_since, settings.max_out_of_orderness);
            let id = settings.client(number);
            let metrics = context.metrics.partition(&id);
            lanes.insert(number, Lane { id, session, progress, nothing_waits: false, metrics });
        }
        lanes.values().try_for_each(|lane| lane.session.ready())?;
        context.metrics.gauge("partitions").set(lanes.len() as i64);
        Ok(Self {
            malformed: Tolerated::new(&context.name, settings.max_malformed, "messages"),
            unsafe_messages: context.metrics.counter("qos_0"),
            unacknowledged: context.metrics.gauge("unacknowledged"),
            settings,
            decode,
            event_time,
            lanes,
            turn: 0,
        })
    }

    /// Takes up to [`STRIDE`] messages of a session. Returns their number.
    fn drain(&mut self, number: usize, batch: &mut Batch<T>) -> Result<usize, ConnectorError> {
        let Some(lane) = self.lanes.get_mut(&number) else { return Ok(0) };
        for taken in 0..STRIDE {
            match lane.session.inbox.take(self.settings.receive_maximum.into())? {
                Taken::Empty { nothing_waits } => {
                    lane.nothing_waits = nothing_waits;
                    return Ok(taken);
                }
                Taken::Message(message) => {
                    lane.nothing_waits = false;
                    if message.id == 0 {
                        self.unsafe_messages.add(1);
                    }
                    let now = batch.now();
                    let origin = || origin(&message, &lane.id);
                    match decoded(&self.decode, &message) {
                        Ok(record) => {
                            let arrival = || EventTime(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
                            let event_time = self.event_time.as_ref().map_or_else(arrival, |of| of(&record));
                            self.malformed.read(1);
                            let admitted = batch.admit(event_time, record, origin);
                            lane.progress.read(admitted.then_some(event_time), now);
                        }
                        Err(reason) => {
                            lane.progress.read(None, now);
                            self.malformed.refuse(batch, origin(), reason, &message.payload)?;
                        }
                    }
                }
            }
        }
        Ok(STRIDE)
    }

    /// Fills the batch from all sessions in turn: the broker spreads messages over them, so none is behind for long.
    fn fill(&mut self, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let numbers: Vec<usize> = self.lanes.keys().copied().collect();
        let mut empty = 0;
        while empty < numbers.len() && batch.records().len() + batch.dead_letters().len() < Batch::<T>::LIMIT {
            self.turn = (self.turn + 1) % numbers.len();
            let taken = self.drain(numbers[self.turn], batch)?;
            empty = if taken == 0 { empty + 1 } else { 0 };
        }
        Ok(())
    }

    /// Decides which sessions are idle, and advances the watermark to the lowest of the others.
    fn promise(&mut self, batch: &mut Batch<T>) {
        let now = batch.now();
        for lane in self.lanes.values_mut() {
            lane.progress.judge(now, self.settings.idle_after, lane.nothing_waits);
            let state = if lane.progress.is_idle() { PartitionState::Idle } else { PartitionState::Active };
            lane.metrics.set(state, lane.progress.watermark(), Some(lane.session.inbox.len() as u64));
        }
        promise(self.lanes.values().map(|lane| &lane.progress), batch);
    }
}

/// Returns where a message came from: `topic@session/packet id`.
fn origin(message: &Received, id: &str) -> String {
    format!("{}@{id}/{}", String::from_utf8_lossy(&message.topic), message.id)
}

fn decoded<T>(decode: &Decode<T>, message: &Received) -> Result<T, String> {
    let topic = str::from_utf8(&message.topic).map_err(|_| "its topic is not UTF-8".to_owned())?;
    decode(MqttMessage::new(message, topic))
}

impl<T: Data> SourceReader for MqttReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        self.fill(batch)?;
        self.promise(batch);
        let full = batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT;
        Ok(if full { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let mut open = 0;
        let of = |(number, lane): (&usize, &Lane)| {
            let (handed_out, unacknowledged) = lane.session.inbox.position();
            open += unacknowledged.len();
            let (watermark, quiet_since) = (lane.progress.watermark().0, lane.progress.quiet_since().0);
            (*number, SessionPosition::new(handed_out, watermark, quiet_since, &unacknowledged))
        };
        let sessions = self.lanes.iter().map(of).collect();
        self.unacknowledged.set(open as i64);
        let (session, filter) = (self.settings.session.clone(), self.settings.filter());
        position::encode(&Stored { session, filter, sessions })
    }

    fn committed(&mut self, position: &[u8]) {
        // It is a position of this reader, so it can be read.
        for (number, end) in Ends::of(position).into_iter().flatten() {
            if let Some(lane) = self.lanes.get(&number) {
                lane.session.inbox.commit(end);
            }
        }
    }
}

/// Returns the numbers of the sessions that a worker reads. Sessions of the restored run are read on, whatever the number of
/// workers is now: the broker goes on to send messages to them.
pub(super) fn numbers(worker: usize, workers: usize, shared: bool, restored: &Sessions) -> Vec<usize> {
    let before = restored.keys().next_back().map_or(0, |last| last + 1);
    let wanted = if shared { workers } else { 1 };
    (0..wanted.max(before)).filter(|number| number % workers.max(1) == worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(count: usize) -> Sessions {
        (0..count).map(|number| (number, SessionPosition::new(0, 0, 0, &[]))).collect()
    }

    #[test]
    fn each_session_of_this_and_the_last_run_has_one_reader() {
        for (workers, before) in [(1, 0), (1, 3), (2, 5), (4, 2), (3, 3)] {
            let mut all: Vec<usize> =
                (0..workers).flat_map(|worker| numbers(worker, workers, true, &sessions(before))).collect();
            all.sort_unstable();
            assert_eq!(all, (0..workers.max(before)).collect::<Vec<_>>(), "{workers} workers after {before}");
        }
        assert_eq!([0, 1].map(|worker| numbers(worker, 2, false, &sessions(0)).len()), [1, 0]);
    }
}
