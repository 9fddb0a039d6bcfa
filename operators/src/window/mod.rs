//! Windows of event time over keyed streams: tumbling, sliding, session.
//!
//! ```text
//! records ─▶ assign windows ─▶ accumulate ─▶ timer at window end ─▶ result
//!    │                            └─ kept for the allowed lateness: a late record gives a new result
//!    └─ later than every window's end + allowed lateness ─▶ side output
//! ```
//! Invariant: a window of a key has a timer at its end until it fired, then one at the end of its
//! allowed lateness, where it is forgotten. Known limit: an epoch that changes one window of a key
//! writes all open windows of that key, so very many overlapping windows cost more.

mod aggregate;
mod assigner;

pub use aggregate::{Aggregate, Stats, StatsOf, stats_of};
pub use assigner::{Assigner, Window};

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::Key;

/// The result of one window of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Windowed<K, T> {
    /// The key.
    pub key: K,
    /// The window. Its result has the event time of its last millisecond.
    pub window: Window,
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
    fn window(self, name: &str, assigner: Assigner) -> Windows<'s, K, D>;
}

impl<'s, K: Key + Data, D: Data> WindowExt<'s, K, D> for KeyedStream<'s, K, D> {
    fn window(self, name: &str, assigner: Assigner) -> Windows<'s, K, D> {
        Windows { stream: self, name: name.to_owned(), assigner, allowed_lateness_ms: 0, order: Order::Arrival }
    }
}

/// A keyed stream cut into windows: only this can be aggregated.
pub struct Windows<'s, K: Key, D: Data> {
    stream: KeyedStream<'s, K, D>,
    name: String,
    assigner: Assigner,
    allowed_lateness_ms: i64,
    order: Order,
}

impl<'s, K: Key + Data, D: Data> Windows<'s, K, D> {
    /// How long after its end a window still takes late records, each of which gives a new result.
    /// Default: not at all.
    #[must_use]
    pub fn allowed_lateness_ms(mut self, lateness: i64) -> Self {
        self.allowed_lateness_ms = lateness.max(0);
        self
    }

    /// In which order records are taken in. Default: as they come, since a window holds its result
    /// until the watermark anyway; by event time, sums of floating-point values are the same to the
    /// last digit in any replay.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Aggregates each window.
    ///
    /// # Errors
    /// When the lengths make no sense, the name is taken, or the state cannot be opened.
    pub fn aggregate<A: Aggregate<In = D>>(self, aggregate: A) -> Result<WindowOutput<'s, K, A::Out, D>, JobError> {
        let Self { stream, name, assigner, allowed_lateness_ms, order } = self;
        assigner.check().map_err(|fault| JobError::Invalid(format!("operator \"{name}\": {fault}")))?;
        let output = stream.process(&name, order, |states: &mut States<'_, K>| {
            let open = states.value("windows")?;
            Ok(WindowLogic { assigner, allowed_lateness_ms, aggregate, open })
        })?;
        Ok(WindowOutput { results: output.main, late: output.side })
    }
}

/// An open window of a key.
#[derive(Clone, Serialize, Deserialize)]
struct Open<A> {
    window: Window,
    fired: bool,
    accumulator: A,
}

struct WindowLogic<K: Key, A: Aggregate> {
    assigner: Assigner,
    allowed_lateness_ms: i64,
    aggregate: A,
    /// By start.
    open: ValueState<K, Vec<Open<A::Accumulator>>>,
}

type WindowContext<'a, K, A> = Context<'a, K, Windowed<K, <A as Aggregate>::Out>, <A as Aggregate>::In>;

impl<K: Key + Data, A: Aggregate> WindowLogic<K, A>
where
    A::In: Data,
{
    fn forgotten_at(&self, window: Window) -> EventTime {
        window.end.plus_ms(self.allowed_lateness_ms)
    }

    /// Adds the record to one window. Returns false when that was forgotten long ago.
    fn add(&self, ctx: &mut WindowContext<'_, K, A>, window: Window, record: &A::In) -> Result<bool, LogicError> {
        if self.forgotten_at(window) <= ctx.watermark() && !self.assigner.merges() {
            return Ok(false);
        }
        let watermark = ctx.watermark();
        let mut gone = Vec::new();
        let (window, opened, result) = self.open.update(ctx, Vec::new, |open| {
            let (at, opened) = match self.assigner.merges() {
                true => (merge_touching(&self.aggregate, open, window, &mut gone), true),
                false => find_or_open(&self.aggregate, open, window),
            };
            let slot = &mut open[at];
            self.aggregate.add(&mut slot.accumulator, record);
            // Behind the watermark: the window has fired already, or would have.
            let fires = slot.window.end <= watermark;
            slot.fired |= fires;
            (slot.window, opened, fires.then(|| self.aggregate.finish(&slot.accumulator)))
        })?;
        for window in gone {
            ctx.cancel_timer(window.end);
            ctx.cancel_timer(self.forgotten_at(window));
        }
        if let Some(value) = result {
            ctx.set_timer(self.forgotten_at(window));
            self.emit(ctx, window, value);
        } else if opened {
            ctx.set_timer(window.end);
        }
        Ok(true)
    }

    fn emit(&self, ctx: &mut WindowContext<'_, K, A>, window: Window, value: A::Out) {
        let key = ctx.key().clone();
        ctx.emit_at(window.end.plus_ms(-1), Windowed { key, window, value });
    }
}

/// The place of `window` among the open ones, and whether it was opened for this.
fn find_or_open<A: Aggregate>(aggregate: &A, open: &mut Vec<Open<A::Accumulator>>, window: Window) -> (usize, bool) {
    // The latest windows are the likely ones.
    let after = open.iter().rposition(|o| o.window <= window).map_or(0, |at| at + 1);
    if after > 0 && open[after - 1].window == window {
        return (after - 1, false);
    }
    open.insert(after, Open { window, fired: false, accumulator: aggregate.empty() });
    (after, true)
}

/// Merges `window` with all open ones it touches; what they were goes to `gone`.
fn merge_touching<A: Aggregate>(
    aggregate: &A,
    open: &mut Vec<Open<A::Accumulator>>,
    window: Window,
    gone: &mut Vec<Window>,
) -> usize {
    let mut merged = Open { window, fired: false, accumulator: aggregate.empty() };
    let mut kept = Vec::with_capacity(open.len() + 1);
    for other in open.drain(..) {
        if other.window.start <= merged.window.end && merged.window.start <= other.window.end {
            gone.push(other.window);
            merged.window.start = merged.window.start.min(other.window.start);
            merged.window.end = merged.window.end.max(other.window.end);
            aggregate.merge(&mut merged.accumulator, &other.accumulator);
        } else {
            kept.push(other);
        }
    }
    let at = kept.partition_point(|other| other.window < merged.window);
    kept.insert(at, merged);
    *open = kept;
    at
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
        let mut windows = [None; 1];
        let mut more = Vec::new();
        self.assigner.assign(record.event_time, |window| match &mut windows[0] {
            none @ None => *none = Some(window),
            Some(_) => more.push(window),
        });
        let mut taken = false;
        for window in windows.into_iter().flatten().chain(more) {
            // A session of a late record may still touch an open one; on its own it would be gone.
            let lost = self.assigner.merges() && self.forgotten_at(window) <= ctx.watermark();
            let touches = lost
                && self.open.read(ctx, |open| {
                    open.is_some_and(|open| {
                        open.iter().any(|o| o.window.start <= window.end && window.start <= o.window.end)
                    })
                })?;
            if !lost || touches {
                taken |= self.add(ctx, window, &record.data)?;
            }
        }
        if !taken {
            ctx.side(record.data);
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut WindowContext<'_, K, A>, at: EventTime) -> Result<(), LogicError> {
        let lateness = self.allowed_lateness_ms;
        let (fired, empty) = self.open.update(ctx, Vec::new, |open| {
            let mut fired = Vec::new();
            for slot in open.iter_mut().filter(|slot| !slot.fired && slot.window.end <= at) {
                slot.fired = true;
                fired.push((slot.window, self.aggregate.finish(&slot.accumulator)));
            }
            open.retain(|slot| slot.window.end.plus_ms(lateness) > at);
            (fired, open.is_empty())
        })?;
        if empty {
            self.open.remove(ctx)?;
        }
        for (window, value) in fired {
            if lateness > 0 {
                ctx.set_timer(self.forgotten_at(window));
            }
            self.emit(ctx, window, value);
        }
        Ok(())
    }
}
