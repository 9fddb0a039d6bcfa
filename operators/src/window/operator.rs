//! Windows of a keyed stream, as a program declares them.

use std::time::Duration;

use tidemill_engine::shell::Order;
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, JobError, Stream};
use tidemill_state::Key;

use super::aggregate::Aggregate;
use super::assigner::Assigner;
use super::logic::WindowLogic;
use super::result::Windowed;
use super::spec::{AccumulationMode, TimeDomain, Trigger, WindowSpec};

/// What comes out of a window operator.
pub struct WindowOutput<'s, K: Key + Data, T: Data, D: Data> {
    /// Results.
    pub results: Stream<'s, Windowed<K, T>>,
    /// Records that came after every one of their windows was forgotten.
    pub late: Stream<'s, D>,
}

/// Adds windows to keyed streams.
pub trait WindowExt<'s, K: Key + Data, D: Data> {
    /// Cuts the stream into windows; `name` names the operator's state in checkpoints.
    /// How time is cut is an [`Assigner`], or a [`WindowAssigner`](super::WindowAssigner) of the program.
    fn window(self, name: &str, assigner: impl Into<Assigner>) -> Windows<'s, K, D>;
}

impl<'s, K: Key + Data, D: Data> WindowExt<'s, K, D> for KeyedStream<'s, K, D> {
    fn window(self, name: &str, assigner: impl Into<Assigner>) -> Windows<'s, K, D> {
        let assigner = assigner.into();
        // Count windows are of whichever records come first: only by event time is that the same in any replay.
        let order = if matches!(assigner, Assigner::Count { .. }) { Order::EventTime } else { Order::Arrival };
        Windows { stream: self, name: name.to_owned(), spec: WindowSpec::new(assigner), order }
    }
}

/// A keyed stream cut into windows: only this can be aggregated.
pub struct Windows<'s, K: Key, D: Data> {
    stream: KeyedStream<'s, K, D>,
    name: String,
    spec: WindowSpec,
    order: Order,
}

impl<'s, K: Key + Data, D: Data> Windows<'s, K, D> {
    /// Sets how long after its end a window still takes late records, each of which makes it fire again.
    /// Default: not at all.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.spec.allowed_lateness = lateness;
        self
    }

    /// In which order records are taken in. Default: as they come, since a window holds its result
    /// until the watermark anyway (count windows: by event time); by event time, sums of floating-point values are
    /// the same to the last digit in any replay, and so are early results.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// When windows tell their results. Default: on time, and with each late record.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.spec.trigger = trigger;
        self
    }

    /// Sets what a window that fires more than once makes of the results that it has emitted. Default:
    /// [`AccumulationMode::Accumulating`].
    #[must_use]
    pub fn mode(mut self, mode: AccumulationMode) -> Self {
        self.spec.mode = mode;
        self
    }

    /// Windows of the wall clock, in place of event time.
    #[must_use]
    pub fn processing_time(mut self) -> Self {
        self.spec.clock = TimeDomain::Processing;
        self.order = Order::Arrival;
        self
    }

    /// Aggregates each window.
    ///
    /// # Errors
    /// When the lengths make no sense, the name is taken, or the state cannot be opened.
    pub fn aggregate<A: Aggregate<In = D>>(self, aggregate: A) -> Result<WindowOutput<'s, K, A::Out, D>, JobError> {
        let Self { stream, name, spec, order } = self;
        let output = stream.process(&name, order, |states| WindowLogic::open(states, spec, aggregate))?;
        Ok(WindowOutput { results: output.results, late: output.side })
    }
}
