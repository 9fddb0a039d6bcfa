//! Reductions by key at partially ordered times, as a tactic of differential dataflow's `reduce`.
//!
//! The result for a key may change at each join of times at which its rows change, even if no row comes in at that
//! time: rows of (epoch 2, 60) and (epoch 3, 50) are together at (epoch 3, 60). A sweep goes over all times of the key
//! in an order that extends the partial order. It visits those that have a *seed* at or before them: a time of a new
//! row, or a time that was postponed. Times at or beyond `upper` are postponed until a later call covers them.
//!
//! Differential's own tactics are not used, since as of 0.26 both of them miss a time in some cases. To keep histories
//! short, old times are moved up to the meet of the seeds. If that moves a time to or beyond `upper`, and no seed is
//! before it, its joins with the seeds are not postponed, and a change there is never computed. It happens only with
//! times that are partially ordered in more than two dimensions, as in loops (a test in this file has the case), or
//! with many of them. Otherwise the sweep is the same.
//!
//! Known limit: one call of `retire` processes all of its keys without a pause, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::operators::ValueHistory;
use differential_dataflow::operators::reduce::{ReduceTactic, reduce_with_tactic};
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::trace::{Builder, Cursor, Description, Span, TraceReader};
use differential_dataflow::{Hashable, VecCollection};
use timely::progress::{Antichain, Timestamp};

use super::Row;

/// A time of the job's dataflow, or of a loop in it.
pub trait DataflowTime: Timestamp + Lattice + Ord {}

impl<T: Timestamp + Lattice + Ord> DataflowTime for T {}

type Batch<K, V, T> = <ValSpine<K, V, T, isize> as TraceReader>::Batch;
type Updates<K, W, T> = Vec<((K, W), T, isize)>;

/// Reduces the rows of each key that has any by `logic`. It gets the sorted rows, each with its number of occurrences,
/// and returns the rows of the result with theirs.
pub(super) fn reduce<'s, T: DataflowTime, K: Row + Hashable, V: Row, W: Row>(
    rows: VecCollection<'s, T, (K, V), isize>,
    name: &str,
    logic: impl FnMut(&K, &[(&V, isize)], &mut Vec<(W, isize)>) + 'static,
) -> VecCollection<'s, T, (K, W), isize> {
    let tactic = Sweep { logic, put_off: BTreeMap::new(), rows: PhantomData };
    reduce_with_tactic::<_, ValSpine<K, W, T, isize>, _>(rows.arrange_by_key(), name, tactic)
        .as_collection(|key, row| (key.clone(), row.clone()))
}

struct Sweep<K, V, W, T, L> {
    logic: L,
    /// Postponed times of each key, at or beyond the retired times, at which the key is to be visited.
    put_off: BTreeMap<K, Vec<T>>,
    rows: PhantomData<fn(V) -> W>,
}

impl<K: Row, V: Row, W: Row, T: DataflowTime, L> ReduceTactic<T, Batch<K, V, T>, Batch<K, W, T>>
    for Sweep<K, V, W, T, L>
where
    L: FnMut(&K, &[(&V, isize)], &mut Vec<(W, isize)>),
{
    fn retire(
        &mut self,
        source_batches: Vec<Batch<K, V, T>>,
        output_batches: Vec<Batch<K, W, T>>,
        input_batches: Vec<Batch<K, V, T>>,
        lower: &Antichain<T>,
        upper: &Antichain<T>,
        retained: &Antichain<T>,
    ) -> (Option<Span<T, Batch<K, W, T>>>, Antichain<T>) {
        if retained.iter().all(|time| upper.less_equal(time)) {
            return (None, retained.clone());
        }
        let (mut source, source_storage) = cursor_list(source_batches);
        let (mut output, output_storage) = cursor_list(output_batches);
        let (mut input, input_storage) = cursor_list(input_batches);
        let is_due = |times: &Vec<T>| times.iter().any(|time| !upper.less_equal(time));
        let mut keys: Vec<K> =
            self.put_off.iter().filter(|(_, times)| is_due(times)).map(|(key, _)| key.clone()).collect();
        while let Some(key) = input.get_key(&input_storage) {
            keys.push(key.clone());
            input.step_key(&input_storage);
        }
        input.rewind_keys(&input_storage);
        keys.sort();
        keys.dedup();

        let (mut builder, mut updates) = (ValBuilder::<K, W, T, isize>::default(), Updates::new());
        let mut histories = (ValueHistory::new(), ValueHistory::new());
        let (mut rows, mut results) = (Vec::new(), Vec::new());
        for key in keys {
            let (mut later, mut seeds): (Vec<T>, Vec<T>) =
                self.put_off.remove(&key).unwrap_or_default().into_iter().partition(|time| upper.less_equal(time));
            updates_of(&mut input, &input_storage, &key, &mut rows);
            seeds.extend(rows.iter().map(|(_, time, _)| time.clone()));
            let seeds = Seeds::new(seeds);
            updates_of(&mut source, &source_storage, &key, &mut rows);
            updates_of(&mut output, &output_storage, &key, &mut results);
            histories.0.load_iter(rows.drain(..), seeds.meet());
            histories.1.load_iter(results.drain(..), seeds.meet());
            sweep(&key, seeds, &mut histories, upper, &mut self.logic, &mut later, &mut updates);
            if !later.is_empty() {
                later.sort();
                later.dedup();
                self.put_off.insert(key, later);
            }
            updates.sort();
            builder.push(&mut updates);
            updates.clear();
        }
        let description = Description::new(lower.clone(), upper.clone(), Antichain::from_elem(T::minimum()));
        let mut next = Antichain::new();
        self.put_off.values().flatten().for_each(|time| _ = next.insert_ref(time));
        (Some(Span::new(description, builder.done().map(Into::into))), next)
    }
}

/// Adds all updates of a key's rows to `updates`.
fn updates_of<'a, K, C>(
    cursor: &mut C,
    storage: &'a C::Storage,
    key: &K,
    updates: &mut Vec<(C::Val<'a>, C::Time, isize)>,
) where
    K: Ord + 'static,
    C: Cursor<Diff = isize>,
    C: for<'b> Cursor<Key<'b> = &'b K>,
{
    cursor.seek_key(storage, key);
    if cursor.get_key(storage) == Some(key) {
        while let Some(row) = cursor.get_val(storage) {
            cursor.map_times(storage, |time, change| {
                updates.push((row, C::owned_time(time), C::owned_diff(change)));
            });
            cursor.step_val(storage);
        }
    }
}

/// The times at which a key is certainly visited, in order, each with the meet of it and all later ones.
struct Seeds<T> {
    times: Vec<T>,
    meets: Vec<T>,
    at: usize,
}

impl<T: DataflowTime> Seeds<T> {
    fn new(mut times: Vec<T>) -> Self {
        times.sort();
        times.dedup();
        let mut meets = times.clone();
        for at in (1..meets.len()).rev() {
            meets[at - 1] = meets[at - 1].meet(&meets[at]);
        }
        Self { times, meets, at: 0 }
    }

    fn next(&self) -> Option<&T> {
        self.times.get(self.at)
    }

    fn meet(&self) -> Option<&T> {
        self.meets.get(self.at)
    }
}

/// Visits the key's rows at all times that have a seed at or before them. Times before `upper` make updates of the
/// result; the other times are added to `later`.
fn sweep<K: Row, V: Row, W: Row, T: DataflowTime>(
    key: &K,
    mut seeds: Seeds<T>,
    (input, output): &mut (ValueHistory<&V, T, isize>, ValueHistory<&W, T, isize>),
    upper: &Antichain<T>,
    logic: &mut impl FnMut(&K, &[(&V, isize)], &mut Vec<(W, isize)>),
    later: &mut Vec<T>,
    updates: &mut Updates<K, W, T>,
) {
    // `joins` are times that are still ahead, `seen` are times that were visited, and `emitted` are the updates of the
    // result in this sweep. The latter two are moved up to the meet of all times ahead, like the histories: for these
    // times, that makes no difference.
    let (mut joins, mut seen, mut emitted) = (BTreeSet::<T>::new(), Vec::<T>::new(), Vec::<((W, T), isize)>::new());
    let mut meet = seeds.meet().cloned();
    loop {
        let next = [seeds.next(), input.time(), output.time(), joins.first()].into_iter().flatten().min();
        let Some(now) = next.cloned() else { return };
        input.step_while_time_is(&now);
        output.step_while_time_is(&now);
        let is_seed = seeds.next() == Some(&now);
        seeds.at += usize::from(is_seed);
        if joins.remove(&now) || is_seed {
            seen.push(now.clone());
        }
        let is_reached = seen.iter().any(|time| time.less_equal(&now));
        let is_beyond = upper.less_equal(&now);
        if is_beyond && is_reached {
            later.push(now.clone());
        } else {
            let mut join = |time: &T| {
                if !time.less_equal(&now) {
                    let join = time.join(&now);
                    if upper.less_equal(&join) {
                        later.push(join);
                    } else {
                        joins.insert(join);
                    }
                }
            };
            // This includes old times that were moved up beyond `upper`: these joins are found nowhere else.
            seen.iter().for_each(&mut join);
            if is_reached {
                if let Some(meet) = &meet {
                    input.advance_buffer_by(meet);
                    output.advance_buffer_by(meet);
                }
                input.buffer().iter().for_each(|((_, time), _)| join(time));
                output.buffer().iter().for_each(|((_, time), _)| join(time));
                emitted.iter().for_each(|((_, time), _)| join(time));
                let before = emitted.len();
                let differs = differing(key, &now, input, output, &emitted, logic);
                emitted.extend(differs.into_iter().map(|(row, change)| {
                    updates.push(((key.clone(), row.clone()), now.clone(), change));
                    ((row, now.clone()), change)
                }));
                if emitted.len() > before {
                    if let Some(meet) = &meet {
                        emitted.iter_mut().for_each(|((_, time), _)| time.join_assign(meet));
                    }
                    consolidate(&mut emitted);
                }
            }
        }
        meet = None;
        for ahead in [seeds.meet(), input.meet(), output.meet()].into_iter().flatten().chain(&joins) {
            meet = Some(meet.map_or_else(|| ahead.clone(), |meet: T| meet.meet(ahead)));
        }
        if let Some(meet) = &meet {
            seen.iter_mut().for_each(|time| time.join_assign(meet));
            seen.sort();
            seen.dedup();
        }
    }
}

/// Returns how the result at `now` differs from the updates so far.
fn differing<K: Row, V: Row, W: Row, T: DataflowTime>(
    key: &K,
    now: &T,
    input: &ValueHistory<&V, T, isize>,
    output: &ValueHistory<&W, T, isize>,
    emitted: &[((W, T), isize)],
    logic: &mut impl FnMut(&K, &[(&V, isize)], &mut Vec<(W, isize)>),
) -> Vec<(W, isize)> {
    let mut rows: Vec<(&V, isize)> = Vec::new();
    rows.extend(input.buffer().iter().filter(|((_, time), _)| time.less_equal(now)).map(|((row, _), n)| (*row, *n)));
    consolidate(&mut rows);
    let mut result = Vec::new();
    if !rows.is_empty() {
        logic(key, &rows, &mut result);
    }
    let before = output.buffer().iter().map(|((row, time), n)| (*row, time, *n));
    let before = before.chain(emitted.iter().map(|((row, time), n)| (row, time, *n)));
    result.extend(before.filter(|(_, time, _)| time.less_equal(now)).map(|(row, _, n)| (row.clone(), -n)));
    consolidate(&mut result);
    result
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use differential_dataflow::AsCollection;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use timely::PartialOrder;
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::operators::core::UnorderedInput;
    use timely::progress::timestamp::Refines;

    use super::*;

    /// A time that is partially ordered in three dimensions, as in a loop of a job.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    struct Three(u8, u8, u8);

    impl Three {
        fn each(self, other: Self, of: impl Fn(u8, u8) -> u8) -> Self {
            Self(of(self.0, other.0), of(self.1, other.1), of(self.2, other.2))
        }
    }

    impl PartialOrder for Three {
        fn less_equal(&self, other: &Self) -> bool {
            self.0 <= other.0 && self.1 <= other.1 && self.2 <= other.2
        }
    }

    impl Lattice for Three {
        fn join(&self, other: &Self) -> Self {
            self.each(*other, u8::max)
        }

        fn meet(&self, other: &Self) -> Self {
            self.each(*other, u8::min)
        }
    }

    impl Timestamp for Three {
        type Summary = ();
        fn minimum() -> Self {
            Self(0, 0, 0)
        }
    }

    impl timely::progress::PathSummary<Three> for () {
        fn results_in(&self, time: &Three) -> Option<Three> {
            Some(*time)
        }
        fn followed_by(&self, (): &Self) -> Option<Self> {
            Some(())
        }
    }

    impl Refines<()> for Three {
        fn to_inner((): ()) -> Self {
            Self::minimum()
        }
        fn to_outer(self) {}
        fn summarize((): ()) {}
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A row under a key is added or removed, at this distance after the time of an input.
        Change { input: usize, after: Three, key: u8, row: u8, change: isize },
        /// The time of an input advances.
        Pass { input: usize, by: Three },
        /// The dataflow takes this number of steps.
        Run(u8),
    }

    type Change = ((u8, u8), Three, isize);
    /// A key, and its rows with their numbers of occurrences.
    type List = (u8, Vec<(u8, isize)>);

    /// Reduces the rows of each key to a list of them, and returns the changes that came in and those that came out.
    fn reduced(steps: Vec<Step>) -> (Vec<Change>, Vec<(List, Three, isize)>) {
        timely::execute_directly(move |worker| {
            let (changes, emitted) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
            let into = Rc::clone(&emitted);
            let (mut input, capability) = worker.dataflow::<Three, _, _>(|scope| {
                let (input, stream) = scope.new_unordered_input::<CapacityContainerBuilder<Vec<Change>>>();
                reduce(stream.as_collection(), "lists", |_, rows, out| {
                    out.push((rows.iter().map(|(row, n)| (**row, *n)).collect::<Vec<_>>(), 1));
                })
                .inspect(move |update| into.borrow_mut().push(update.clone()));
                input
            });
            let mut inputs = vec![capability.clone(), capability];
            for step in steps {
                match step {
                    Step::Change { input: at, after, key, row, change } => {
                        let time = inputs[at].time().each(after, |a, b| a + b);
                        changes.borrow_mut().push(((key, row), time, change));
                        input.activate().session(&inputs[at]).give(((key, row), time, change));
                    }
                    Step::Pass { input, by } => {
                        let time = inputs[input].time().each(by, |a, b| a + b);
                        inputs[input].downgrade(&time);
                    }
                    Step::Run(steps) => (0..steps).for_each(|_| _ = worker.step()),
                }
            }
            drop(inputs);
            drop(input);
            while worker.step() {}
            (changes.take(), emitted.take())
        })
    }

    /// Checks the result at each time that may be a join of the times.
    fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (changes, emitted) = reduced(steps);
        let of = |part: fn(&Three) -> u8| changes.iter().map(|(_, time, _)| part(time)).collect::<BTreeSet<u8>>();
        let (first, second, third) = (of(|t| t.0), of(|t| t.1), of(|t| t.2));
        let times = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
        for now in times.flat_map(|(a, b)| third.iter().map(|c| Three(*a, *b, *c))) {
            let mut rows: Vec<((u8, u8), isize)> =
                changes.iter().filter(|(_, time, _)| time.less_equal(&now)).map(|(row, _, n)| (*row, *n)).collect();
            consolidate(&mut rows);
            let lists = rows.chunk_by(|a, b| a.0.0 == b.0.0);
            let expected: Vec<_> =
                lists.map(|list| ((list[0].0.0, list.iter().map(|((_, row), n)| (*row, *n)).collect()), 1)).collect();
            let mut found: Vec<(List, isize)> = emitted
                .iter()
                .filter(|(_, time, _)| time.less_equal(&now))
                .map(|(list, _, n)| (list.clone(), *n))
                .collect();
            consolidate(&mut found);
            prop_assert_eq!(found, expected, "at {:?}", now);
        }
        Ok(())
    }

    fn three(each: u8) -> impl Strategy<Value = Three> {
        (0..each, 0..each, 0..each).prop_map(|(a, b, c)| Three(a, b, c))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let change =
            (0..2_usize, three(4), 0..2_u8, 0..2_u8, prop::bool::ANY).prop_map(|(input, after, key, row, is)| {
                Step::Change { input, after, key, row, change: if is { 1 } else { -1 } }
            });
        let pass = (0..2_usize, three(2)).prop_map(|(input, by)| Step::Pass { input, by });
        prop::collection::vec(prop_oneof![5 => change, 3 => pass, 3 => (1..4_u8).prop_map(Step::Run)], 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn results_are_those_of_the_rows_at_each_time(steps in steps()) {
            check(steps)?;
        }
    }

    /// A case that differential-dataflow 0.26 computes wrongly with its own tactics.
    #[test]
    fn an_old_time_that_is_moved_beyond_the_interval_still_joins() -> Result<(), TestCaseError> {
        let change = |after, change| Step::Change { input: 0, after, key: 0, row: 0, change };
        let pass = |by| [0, 1].map(|input| Step::Pass { input, by });
        let mut steps = vec![change(Three(2, 1, 1), 1), change(Three(0, 2, 0), -1)];
        steps.extend(pass(Three(1, 1, 1)));
        steps.extend([change(Three(0, 0, 1), 1), Step::Run(2)]);
        steps.extend(pass(Three(0, 1, 0)));
        steps.push(Step::Run(1));
        check(steps)
    }
}
