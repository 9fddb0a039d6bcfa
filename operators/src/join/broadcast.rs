//! Broadcast join: every record is joined with all of a small, changing set, as it was at the record's time.
//!
//! ```text
//! rules ───▶ a copy for each slot ──┐
//! records ─▶ slot of their key ─────┴▶ by event time, rules first ─▶ results
//! ```
//! Slots are keys like any others: they are spread over the workers, and can be restored by any number of workers.
//! Known limits: at most as many workers as there are slots have work, and each slot holds a copy of the set.

use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::{Either, KeyedStream};
use tidemill_engine::{Data, JobError, Record, Stream};
use tidemill_state::{Key, Value, hash_key};

/// Number of parts that the records are split into.
pub const SLOTS: u16 = 16;

/// A small, changing set that every record is joined with. Made from a stream of rules by [`BroadcastExt::broadcast`].
pub struct Broadcast<'s, R: Data, S> {
    rules: Stream<'s, R>,
    apply: Apply<R, S>,
}

/// A function that applies a rule to the set.
type Apply<R, S> = Box<dyn Fn(&mut S, R)>;

/// Adds broadcast sets to streams.
pub trait BroadcastExt<'s, R: Data> {
    /// Builds a set from the stream's records, the rules, for [`broadcast_join`](BroadcastJoinExt::broadcast_join).
    /// `apply` changes the set by a rule: it may add, replace or remove entries. Rules of the same time come in any
    /// order.
    #[must_use]
    fn broadcast<S: Value + Default>(self, apply: impl Fn(&mut S, R) + 'static) -> Broadcast<'s, R, S>;
}

impl<'s, R: Data> BroadcastExt<'s, R> for Stream<'s, R> {
    fn broadcast<S: Value + Default>(self, apply: impl Fn(&mut S, R) + 'static) -> Broadcast<'s, R, S> {
        Broadcast { rules: self, apply: Box::new(apply) }
    }
}

/// Joins a keyed stream with a broadcast set.
pub trait BroadcastJoinExt<'s, A: Data> {
    /// Calls `join` with each record and the set as the rules up to the record's time have built it, and emits the
    /// results. Records of the same key stay in order.
    ///
    /// * Time, order: by event time. Late rules and late records are processed as they come.
    ///
    /// # Errors
    /// When the name is taken or the state cannot be opened.
    fn broadcast_join<R: Data, S: Value + Default, I: IntoIterator<Item: Data>>(
        self,
        name: &str,
        set: Broadcast<'s, R, S>,
        join: impl Fn(&S, A) -> I + 'static,
    ) -> Result<Stream<'s, I::Item>, JobError>;
}

impl<'s, K: Key, A: Data> BroadcastJoinExt<'s, A> for KeyedStream<'s, K, A> {
    fn broadcast_join<R: Data, S: Value + Default, I: IntoIterator<Item: Data>>(
        self,
        name: &str,
        set: Broadcast<'s, R, S>,
        join: impl Fn(&S, A) -> I + 'static,
    ) -> Result<Stream<'s, I::Item>, JobError> {
        let Broadcast { rules, apply } = set;
        let records = self.map_key(|key| (hash_key(&key) % u64::from(SLOTS)) as u16);
        let rules = rules.flat_map(|rule: R| (0..SLOTS).map(move |slot| (slot, rule.clone()))).key_by(|rule| rule.0);
        let open = move |states: &mut States<'_, u16>| BroadcastLogic::open(states, apply, join);
        Ok(records.connect(rules).process(name, Order::EventTime, open)?.results)
    }
}

/// The logic of a broadcast join, on one slot: of records `A` with a set `S` that rules `R` change, with results `O`.
pub struct BroadcastLogic<A, R, S, O> {
    apply: Apply<R, S>,
    join: Join<A, S, O>,
    set: ValueState<u16, S>,
    /// The results of the current record. It is empty between records.
    results: Vec<O>,
}

/// A function that joins a record with the set, and appends the results to a list.
type Join<A, S, O> = Box<dyn Fn(&S, A, &mut Vec<O>)>;

impl<A: Data, R: Data, S: Value + Default, O: Data> BroadcastLogic<A, R, S, O> {
    /// Opens the state of the set. `apply` changes the set by a rule, and `join` returns the results of a record.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open<I: IntoIterator<Item = O>>(
        states: &mut States<'_, u16>,
        apply: impl Fn(&mut S, R) + 'static,
        join: impl Fn(&S, A) -> I + 'static,
    ) -> Result<Self, JobError> {
        let set = states.with_parameters(format!("a copy for each of {SLOTS} slots")).value("set")?;
        let join: Join<A, S, O> = Box::new(move |set, data, results| results.extend(join(set, data)));
        Ok(Self { apply: Box::new(apply), join, set, results: Vec::new() })
    }
}

impl<A: Data, R: Data, S: Value + Default, O: Data> KeyedLogic for BroadcastLogic<A, R, S, O> {
    type Key = u16;
    type In = Either<A, (u16, R)>;
    type Out = O;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u16, O, ()>, record: Record<Self::In>) -> Result<(), LogicError> {
        let Self { apply, join, set, results } = self;
        match record.data {
            Either::First(data) => {
                set.read(ctx, |set| match set {
                    Some(set) => join(set, data, results),
                    None => join(&S::default(), data, results),
                })?;
                results.drain(..).for_each(|result| ctx.emit(result));
            }
            Either::Second((_, rule)) => set.update(ctx, S::default, |set| apply(set, rule))?,
        }
        Ok(())
    }

    /// Puts rules before the records of the same time: a rule applies to these.
    fn tie_break(record: &Self::In) -> u64 {
        u64::from(matches!(record, Either::First(_)))
    }
}
