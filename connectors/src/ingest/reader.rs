//! The reader of the worker that listens; the other workers have nothing to read.

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::source::{Batch, Next, SourceContext, SourceReader};
use tidemill_engine::{Arrival, ConnectorError, Data, ErrorKind, EventTime};

use super::access::Access;
use super::bound::BoundAddress;
use super::budget::Budget;
use super::intake::{Intake, Limits, Malformed, Queued};
use super::keys::Window;
use super::metrics::Counts;
use super::position::{End, Restored, Stored};
use super::records::{Decode, EventTimeOf};
use super::server::{Server, listen};
use super::service::Service;
use super::settings::Settings;
use crate::inbox::SplitProgress;
use crate::malformed::Tolerated;

/// Interval of reads if the reader is not woken, so that the source becomes idle, and answers do not wait for long.
const LOOK: Duration = Duration::from_millis(20);

/// The reader of one worker of an [`HttpSource`](super::HttpSource).
pub struct HttpReader<T> {
    /// What listens, on the first worker.
    listening: Option<Listening<T>>,
    event_time: Option<EventTimeOf<T>>,
    progress: SplitProgress,
    idle_after: Duration,
    malformed: Tolerated,
    counts: Counts,
}

struct Listening<T> {
    intake: Arc<Intake<T>>,
    budget: Arc<Budget>,
    /// It ends with the reader.
    _server: Server,
}

impl<T: Data> HttpReader<T> {
    /// Opens the source on a worker; the first one listens.
    pub(super) fn open(
        settings: &Settings,
        decode: Decode<T>,
        event_time: Option<EventTimeOf<T>>,
        restored: Restored,
        bound: &BoundAddress,
        context: &SourceContext,
    ) -> Result<Self, ConnectorError> {
        let counts = Counts::new(&context.metrics);
        let quiet_since = restored.quiet_since.unwrap_or(context.clock.now().0);
        let progress =
            SplitProgress::new(EventTime(restored.watermark), Arrival(quiet_since), settings.max_out_of_orderness);
        let limit = settings.malformed.unwrap_or_default();
        let listening = (context.worker == 0)
            .then(|| Listening::start(settings, decode, restored, bound, context, counts.clone()))
            .transpose()?;
        Ok(Self {
            listening,
            event_time,
            progress,
            idle_after: settings.idle_after,
            malformed: Tolerated::new(&context.name, limit, "records"),
            counts,
        })
    }

    /// Hands out a request as a whole, so that all its records are in one epoch.
    fn hand_out(&mut self, request: Queued<T>, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let now = batch.now();
        for (index, item) in request.items.into_iter().enumerate() {
            let origin = |number: usize| format!("{}, record {number}", request.from);
            match item {
                Ok(record) => {
                    let arrival = || EventTime(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
                    let event_time = self.event_time.as_ref().map_or_else(arrival, |of| of(&record));
                    self.malformed.read(1);
                    let admitted = batch.admit(event_time, record, || origin(index + 1));
                    self.progress.read(admitted.then_some(event_time), now);
                }
                Err(Malformed { reason, number, payload }) => {
                    self.progress.read(None, now);
                    self.malformed.refuse(batch, origin(number), reason, &payload)?;
                }
            }
        }
        Ok(())
    }
}

impl<T: Data> Listening<T> {
    fn start(
        settings: &Settings,
        decode: Decode<T>,
        restored: Restored,
        bound: &BoundAddress,
        context: &SourceContext,
        counts: Counts,
    ) -> Result<Self, ConnectorError> {
        let access = Access::open(settings)?;
        let address = settings.listens_at().map_err(|e| ConnectorError::new(ErrorKind::Invalid, e))?;
        let (listener, address) = listen(address)?;
        let limits = Limits {
            bytes: settings.max_request_bytes,
            records: settings.max_request_records,
            takes_malformed: settings.malformed.is_some(),
        };
        let window = Window::new(settings.remembered_keys, settings.remembered_for);
        let (clock, waker) = (context.clock.clone(), context.waker.clone());
        let intake = Intake::new(decode, limits, window, restored.keys, clock.clone(), waker, counts.clone());
        let budget = Budget::new(settings.max_queued_bytes);
        let is_guarded = access.is_guarded();
        let service = Service {
            path: settings.path.clone(),
            access,
            max_bytes: settings.max_request_bytes,
            answer_within: settings.answer_within,
            budget: Arc::clone(&budget),
            intake: Arc::<Intake<T>>::clone(&intake),
            counts,
            clock,
        };
        let server = Server::start(listener, service, settings.max_connections)?;
        bound.set(address);
        let whose = if is_guarded { "records" } else { "records of anybody" };
        tracing::info!("{whose} are taken at http://{address}{}", settings.path);
        Ok(Self { intake, budget, _server: server })
    }
}

impl<T: Data> SourceReader for HttpReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let full = |batch: &Batch<T>| batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT;
        let intake = self.listening.as_ref().map(|listening| Arc::clone(&listening.intake));
        while !full(batch)
            && let Some(request) = intake.as_ref().and_then(|intake| intake.take())
        {
            self.hand_out(request, batch)?;
        }
        if let Some(Listening { intake, budget, .. }) = &self.listening {
            let (waiting, keys) = intake.sizes();
            self.counts.waiting.set(waiting as i64);
            self.counts.keys.set(keys as i64);
            self.counts.queued_bytes.set(budget.used() as i64);
        }
        // A batch that is not full has emptied the queue.
        let is_full = full(batch);
        self.progress.judge(batch.now(), self.idle_after, !is_full);
        batch.advance_watermark(self.progress.watermark());
        if self.progress.is_idle() || self.listening.is_none() {
            batch.mark_idle();
        }
        Ok(if is_full { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let (watermark, quiet_since) = (self.progress.watermark().0, self.progress.quiet_since().0);
        let stored = match &self.listening {
            Some(Listening { intake, .. }) => {
                intake.with_handed_out(|handed_out, keys| Stored::new(handed_out, watermark, quiet_since, keys))
            }
            None => Stored::new(0, i64::MIN, 0, std::iter::empty()),
        };
        crate::position::encode(&stored)
    }

    fn committed(&mut self, position: &[u8]) {
        // It is a position of this reader, so it can be read.
        if let (Some(listening), Ok(End { handed_out })) = (&self.listening, crate::position::decode(position)) {
            listening.intake.commit(handed_out);
        }
    }
}
