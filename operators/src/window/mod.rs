//! Windows over keyed streams: tumbling, sliding, session, global and count windows, by event or processing time.
//!
//! ```text
//! keyed stream ─▶ window(assigner) ─▶ trigger, mode, allowed lateness ─▶ aggregate ─┬─▶ results
//!                                                                                   └─▶ late records
//! assigner.rs, calendar.rs, own.rs    how time is cut
//! each.rs     an accumulator per window          sliced.rs    sliding windows share slices
//! counted.rs  so many records                    stats.rs, functions.rs, sketches.rs    what is aggregated
//! ```
//! The logic is plain [`KeyedLogic`]: [`WindowLogic`] runs in a test without a dataflow.

mod aggregate;
mod assigner;
mod calendar;
mod counted;
mod each;
mod functions;
mod own;
mod sketches;
mod sliced;
mod spec;
mod stats;

pub use aggregate::Aggregate;
pub use assigner::{Assigner, Window};
pub use calendar::{Period, Weekday, Zone, tzdata_version};
pub use functions::{Counting, FullWindow, TopN, counting, full_window, top_n};
pub use own::{Own, WindowAssigner};
pub use sketches::{DistinctOf, Quantiles, QuantilesOf, distinct_of, quantiles_of};
pub use spec::{Firing, Mode, TimeDomain, Trigger, WindowSpec};
pub use stats::{ExactStats, Stats, StatsOf, stats_of};

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::Key;

use assigner::Slices;
use counted::CountedWindows;
use each::EachWindow;
use sliced::SlicedWindows;

/// The result of one window of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Windowed<K, T> {
    /// The key.
    pub key: K,
    /// The window. Its result has the event time of its last millisecond; by processing time, that of the watermark.
    pub window: Window,
    /// Why it was told.
    pub firing: Firing,
    /// The aggregate.
    pub value: T,
}

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
    /// How time is cut is an [`Assigner`], or a [`WindowAssigner`] of the program.
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
    /// How long after its end a window still takes late records, each of which gives a new result.
    /// Default: not at all.
    #[must_use]
    pub fn allowed_lateness_ms(mut self, lateness: i64) -> Self {
        self.spec.allowed_lateness_ms = lateness.max(0);
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

    /// What a window that tells more than once makes of what it has told. Default: [`Mode::Accumulating`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
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
        let at_fault = |error| match error {
            JobError::Invalid(fault) => JobError::Invalid(format!("operator \"{name}\": {fault}")),
            other => other,
        };
        spec.check().map_err(JobError::Invalid).map_err(at_fault)?;
        let output = stream.process(&name, order, |states| WindowLogic::open(states, spec, aggregate))?;
        Ok(WindowOutput { results: output.main, late: output.side })
    }
}

/// The logic of every window operator. Late records go to the side output.
pub struct WindowLogic<K: Key, A: Aggregate>(Kind<K, A>);

enum Kind<K: Key, A: Aggregate> {
    Each(EachWindow<K, A>),
    Sliced(TimeDomain, SlicedWindows<K, A>),
    Counted(CountedWindows<K, A>),
}

impl<K: Key + Data, A: Aggregate> WindowLogic<K, A>
where
    A::In: Data,
{
    /// Opens the state of windows as `spec` has them.
    ///
    /// # Errors
    /// When the lengths make no sense, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, spec: WindowSpec, aggregate: A) -> Result<Self, JobError> {
        spec.check().map_err(JobError::Invalid)?;
        let mut states = states.with_parameters(spec.state_parameters(&aggregate.parameters()));
        let states = &mut states;
        Ok(Self(match spec.assigner {
            Assigner::Count { size, every } => {
                Kind::Counted(CountedWindows::open(states, (size, every), spec.clock, aggregate)?)
            }
            Assigner::Sliding { size_ms, slide_ms, offset_ms } if spec.shares_slices() => {
                let slices = Slices::new(size_ms, slide_ms, offset_ms);
                Kind::Sliced(spec.clock, SlicedWindows::open(states, spec, slices, aggregate)?)
            }
            _ => Kind::Each(EachWindow::open(states, spec, aggregate)?),
        }))
    }

    fn on_time(&self, ctx: &mut WindowContext<'_, K, A>, of: TimeDomain, at: EventTime) -> Result<(), LogicError> {
        match &self.0 {
            Kind::Each(windows) => windows.on_time(ctx, of, at),
            // At the end of event time nothing is left to wait for, by whatever clock.
            Kind::Sliced(clock, windows) if *clock == of || at == EventTime::MAX => windows.on_time(ctx, at),
            Kind::Sliced(..) | Kind::Counted(_) => Ok(()),
        }
    }
}

/// What window logic sees of the world.
type WindowContext<'a, K, A> = Context<'a, K, Windowed<K, <A as Aggregate>::Out>, <A as Aggregate>::In>;

fn tell<K: Key + Data, T: Data, D>(
    ctx: &mut Context<'_, K, Windowed<K, T>, D>,
    clock: TimeDomain,
    window: Window,
    firing: Firing,
    value: T,
) {
    let at = match clock {
        TimeDomain::Event => window.end.plus_ms(-1),
        TimeDomain::Processing => ctx.watermark(),
    };
    let key = ctx.key().clone();
    ctx.emit_at(at, Windowed { key, window, firing, value });
}

impl<K: Key + Data, A: Aggregate> KeyedLogic for WindowLogic<K, A>
where
    A::In: Data,
{
    type Key = K;
    type In = A::In;
    type Out = Windowed<K, A::Out>;
    type Side = A::In;

    fn on_record(&mut self, ctx: &mut WindowContext<'_, K, A>, record: Record<A::In>) -> Result<(), LogicError> {
        match &self.0 {
            Kind::Each(windows) => windows.on_record(ctx, record),
            Kind::Sliced(_, windows) => windows.on_record(ctx, record),
            Kind::Counted(windows) => windows.on_record(ctx, record),
        }
    }

    fn on_timer(&mut self, ctx: &mut WindowContext<'_, K, A>, at: EventTime) -> Result<(), LogicError> {
        self.on_time(ctx, TimeDomain::Event, at)
    }

    fn on_processing_timer(&mut self, ctx: &mut WindowContext<'_, K, A>, at_ms: i64) -> Result<(), LogicError> {
        self.on_time(ctx, TimeDomain::Processing, EventTime(at_ms))
    }
}
