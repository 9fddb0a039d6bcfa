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

/// The outputs of a window operator.
pub struct WindowOutput<'s, K: Key + Data, T: Data, D: Data> {
    /// Results of windows.
    pub results: Stream<'s, Windowed<K, T>>,
    /// Late records: the allowed lateness of each of their windows was over.
    pub late: Stream<'s, D>,
}

/// Adds windows to keyed streams.
pub trait WindowExt<'s, K: Key + Data, D: Data> {
    /// Cuts the stream into windows, which `assigner` defines: an [`Assigner`], or a
    /// [`WindowAssigner`](super::WindowAssigner) of the program. `name` names the operator's state in checkpoints.
    fn window(self, name: &str, assigner: impl Into<Assigner>) -> Windows<'s, K, D>;
}

impl<'s, K: Key + Data, D: Data> WindowExt<'s, K, D> for KeyedStream<'s, K, D> {
    fn window(self, name: &str, assigner: impl Into<Assigner>) -> Windows<'s, K, D> {
        let assigner = assigner.into();
        // Count windows take the records that come first: only in event-time order are these the same in any replay.
        let order = if matches!(assigner, Assigner::Count { .. }) { Order::EventTime } else { Order::Arrival };
        Windows { stream: self, name: name.to_owned(), spec: WindowSpec::new(assigner), order }
    }
}

/// A keyed stream cut into windows, which can be aggregated.
pub struct Windows<'s, K: Key, D: Data> {
    stream: KeyedStream<'s, K, D>,
    name: String,
    spec: WindowSpec,
    order: Order,
}

impl<'s, K: Key + Data, D: Data> Windows<'s, K, D> {
    /// Sets for how long after its end a window still takes late records, each of which makes it fire again.
    /// Default: zero.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.spec.allowed_lateness = lateness;
        self
    }

    /// Sets the order in which records are added to windows. Default: as they come, since the result of a window waits
    /// for the watermark anyway; for count windows, event-time order. In event-time order, sums of floating-point
    /// values are the same to the last digit in any replay, and so are early results.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets when windows fire. Default: on time, and again for each late record.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.spec.trigger = trigger;
        self
    }

    /// Sets how the results of a window that fires more than once relate to each other. Default:
    /// [`AccumulationMode::Accumulating`].
    #[must_use]
    pub fn mode(mut self, mode: AccumulationMode) -> Self {
        self.spec.mode = mode;
        self
    }

    /// Makes the windows follow the wall clock instead of event time. Records are then added as they come.
    #[must_use]
    pub fn processing_time(mut self) -> Self {
        self.spec.clock = TimeDomain::Processing;
        self.order = Order::Arrival;
        self
    }

    /// Aggregates the records of each window.
    ///
    /// # Errors
    /// When the settings of the windows are invalid, the name is taken, or the state cannot be opened.
    pub fn aggregate<A: Aggregate<In = D>>(self, aggregate: A) -> Result<WindowOutput<'s, K, A::Out, D>, JobError> {
        let Self { stream, name, spec, order } = self;
        let output = stream.process(&name, order, |states| WindowLogic::open(states, spec, aggregate))?;
        Ok(WindowOutput { results: output.results, late: output.side })
    }
}
