//! Folds: one value computed from all records, and emitted when the input has ended.
//!
//! ```text
//! records of a key, in event-time order ─▶ value of the key (state) ── input ends ─▶ (key, value)
//! ```

use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::Key;

/// Adds folds to streams whose input ends.
pub trait FoldExt<'s, D: Data> {
    /// The type of the results of a fold to an `A`: for a keyed stream, the key and the `A`; otherwise the `A` alone.
    type Folded<A: Data>: Data;

    /// Computes one value from all records (of each key), and emits it when the input has ended. If there are no
    /// records, nothing is emitted. `name` is unique in the job and names the operator's state in checkpoints.
    ///
    /// * Start: the value begins as `init`, and `with` adds each record to it. Without a key, all records go to one
    ///   worker.
    /// * Time, order: records are added in event-time order; those of the same time in no particular order, and late
    ///   ones when they come. The result has the event time [`EventTime::MAX`].
    /// * Guarantee: each record is in the value exactly once, through any crash. A job that is stopped before its
    ///   input has ended emits nothing, and goes on with the value when it is started again.
    /// * State: one value per key.
    ///
    /// # Errors
    /// When the name is taken, or the state cannot be opened.
    fn fold<A: Data>(
        self,
        name: &str,
        init: A,
        with: impl Fn(&mut A, D) + 'static,
    ) -> Result<Stream<'s, Self::Folded<A>>, JobError>;
}

impl<'s, K: Key + Data, D: Data> FoldExt<'s, D> for KeyedStream<'s, K, D> {
    type Folded<A: Data> = (K, A);

    fn fold<A: Data>(
        self,
        name: &str,
        init: A,
        with: impl Fn(&mut A, D) + 'static,
    ) -> Result<Stream<'s, (K, A)>, JobError> {
        let open = move |states: &mut States<'_, K>| FoldLogic::open(states, init, with);
        Ok(self.process(name, Order::EventTime, open)?.results)
    }
}

impl<'s, D: Data> FoldExt<'s, D> for Stream<'s, D> {
    type Folded<A: Data> = A;

    fn fold<A: Data>(self, name: &str, init: A, with: impl Fn(&mut A, D) + 'static) -> Result<Stream<'s, A>, JobError> {
        Ok(self.key_by(|_| ()).fold(name, init, with)?.map(|((), value)| value))
    }
}

/// The logic of a fold.
pub struct FoldLogic<K, D, A, F> {
    init: A,
    with: F,
    value: ValueState<K, A>,
    record: std::marker::PhantomData<fn(D)>,
}

impl<K: Key, D: Data, A: Data, F: Fn(&mut A, D) + 'static> FoldLogic<K, D, A, F> {
    /// Opens the state.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, init: A, with: F) -> Result<Self, JobError> {
        Ok(Self {
            init,
            with,
            value: states.with_parameters("a fold").value("value")?,
            record: std::marker::PhantomData,
        })
    }
}

impl<K: Key + Data, D: Data, A: Data, F: Fn(&mut A, D) + 'static> KeyedLogic for FoldLogic<K, D, A, F> {
    type Key = K;
    type In = D;
    type Out = (K, A);
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, K, (K, A), ()>, record: Record<D>) -> Result<(), LogicError> {
        let mut first = false;
        let init = || {
            first = true;
            self.init.clone()
        };
        self.value.update(ctx, init, |value| (self.with)(value, record.data))?;
        if first {
            ctx.set_timer(EventTime::MAX);
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, K, (K, A), ()>, _at: EventTime) -> Result<(), LogicError> {
        if let Some(value) = self.value.remove(ctx)? {
            ctx.emit((ctx.key().clone(), value));
        }
        Ok(())
    }
}
