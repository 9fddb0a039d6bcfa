//! Tables and their views, compared with a map to which the changelog is applied in event-time order: each view is
//! computed again from it at each event time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::{ProgramTest, Simulation, TestSink, TestSource};

use testkit::script::{cases, crash_at, crashes, feed, sorted};

/// A change of an account, whose row is its group and its balance, or of a group, whose row is its limit. The id is its
/// position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    time: i64,
    id: u64,
    is_account: bool,
    key: u8,
    row: Option<(u8, i32)>,
}

/// The rows of a view at one event time, each with the number of its occurrences.
type View = BTreeMap<String, isize>;

const VIEWS: [&str; 10] =
    ["rich", "sums", "joined", "counts", "distinct", "best", "within", "without", "reach", "halves"];

/// Returns a row of a view as text, in the same form for the program and the oracle.
fn text(key: impl Debug, row: impl Debug) -> String {
    format!("{key:?} {row:?}")
}

/// A row in a stream of upserts: the view, the key, and the row.
type ToldRow = (String, u8, Option<String>);

/// The outputs of the program. A change is (view, row, change of its occurrences); `looked_up` has what a stream found
/// in the view `sums`.
#[derive(Clone)]
struct Sinks {
    changes: TestSink<(String, String, isize)>,
    upserts: TestSink<ToldRow>,
    looked_up: TestSink<(u64, Option<i64>)>,
    late: TestSink<Option<u64>>,
    superseded: TestSink<Upsert<u8, (u8, i32)>>,
}

fn emitted<'s, K: Debug + Key + Data, V: Debug + Key + Data>(
    view: &'static str,
    table: Table<'s, K, V>,
) -> Result<Stream<'s, (String, String, isize)>, JobError> {
    let changes = table.changes(view)?;
    Ok(changes.map(move |change| (view.to_owned(), text(change.key, change.row), change.change as isize)))
}

fn build(flow: &Flow<'_>, source: &TestSource<Event>, sinks: &Sinks) -> Result<(), JobError> {
    let events = flow.source("events", source)?;
    let base = |name: &'static str, is_account: bool| {
        let changelog = Changelog::new(|event: Event| Upsert { key: event.key, row: event.row });
        let events = events.clone().filter(move |event| event.is_account == is_account);
        events.table(name, changelog.in_sequence(|event| event.id))
    };
    let (accounts, groups) = (base("accounts", true)?, base("groups", false)?);
    accounts.superseded.union(groups.superseded).sink("superseded", &sinks.superseded)?;
    let (accounts, groups) = (accounts.results, groups.results);
    let by_group = accounts.clone().map(|account, (group, amount)| (group, (account, amount)));
    let sums = by_group
        .clone()
        .reduce(|_, rows| Some(rows.iter().map(|((_, amount), n)| i64::from(*amount) * *n as i64).sum::<i64>()));
    let counts = by_group.clone().count();
    let best = by_group.clone().top_n(2, |(_, amount)| *amount);
    // All pairs of a start and an end that are connected by edges from an account to its group.
    let edges = accounts.clone().map(|account, (group, _)| (account, group));
    let reach = edges.clone().distinct().iterate(|scope, reach| {
        let onward = reach.clone().map(|from, to| (to, from)).join(edges.enter(scope)).map(|_, ends| ends);
        reach.concat(onward).distinct()
    });
    let halves = accounts.clone().flat_map(|account, (group, amount)| (0..amount / 2).map(move |_| (account, group)));
    emitted("rich", accounts.clone().filter(|_, (_, amount)| *amount > 1))?
        .union(emitted("joined", by_group.clone().join(groups.clone()))?)
        .union(emitted("distinct", accounts.map(|_, (group, amount)| (group, amount.abs())).distinct())?)
        .union(emitted("within", by_group.clone().semijoin(groups.clone()))?)
        .union(emitted("without", by_group.antijoin(groups.clone()))?)
        .union(emitted("reach", reach)?)
        .union(emitted("halves", halves.concat(groups.map(|group, (other, _)| (group, other))))?)
        .sink("changes", &sinks.changes)?;
    let sums = sums.upserts("sums")?;
    let name = |view: &'static str| move |key: u8, row: Option<String>| (view.to_owned(), key, row);
    let (sums_of, counts_of, best_of) = (name("sums"), name("counts"), name("best"));
    sums.clone()
        .map(move |sum| sums_of(sum.key, sum.row.map(|row| format!("{row:?}"))))
        .union(
            counts.upserts("counts")?.map(move |count| counts_of(count.key, count.row.map(|row| format!("{row:?}")))),
        )
        .union(best.upserts("best")?.map(move |best| best_of(best.key, best.row.map(|row| format!("{row:?}")))))
        .sink("upserts", &sinks.upserts)?;
    let accounts = events.filter(|event| event.is_account && event.row.is_some());
    let by_group = accounts.key_by(|event| event.row.map_or(0, |(group, _)| group));
    let table = TemporalTable::new().deleted_by(|sum: &Upsert<u8, i64>| sum.row.is_none());
    let looked_up = by_group.temporal_join("lookup", sums.key_by(|sum| sum.key), table)?;
    let left = |late: Either<Event, _>| if let Either::First(event) = late { Some(event.id) } else { None };
    looked_up.late.map(left).sink("late", &sinks.late)?;
    looked_up.results.map(|(event, sum)| (event.id, sum.and_then(|sum| sum.row))).sink("looked-up", &sinks.looked_up)
}

/// The base tables at an event time.
#[derive(Clone, Default)]
struct Base {
    accounts: BTreeMap<u8, (u8, i32)>,
    groups: BTreeMap<u8, (u8, i32)>,
}

impl Base {
    fn apply(&mut self, event: &Event) {
        let table = if event.is_account { &mut self.accounts } else { &mut self.groups };
        match event.row {
            Some(row) => table.insert(event.key, row),
            None => table.remove(&event.key),
        };
    }

    fn by_group(&self) -> BTreeMap<u8, Vec<(u8, i32)>> {
        let mut groups = BTreeMap::<u8, Vec<(u8, i32)>>::new();
        self.accounts
            .iter()
            .for_each(|(account, (group, amount))| groups.entry(*group).or_default().push((*account, *amount)));
        groups
    }

    fn sum(&self, group: u8) -> Option<i64> {
        self.by_group().get(&group).map(|rows| rows.iter().map(|(_, amount)| i64::from(*amount)).sum())
    }

    /// Computes a view with loops.
    fn view(&self, view: &str) -> View {
        let mut rows = View::new();
        let mut add = |row: String| *rows.entry(row).or_default() += 1;
        match view {
            "rich" => self.accounts.iter().filter(|(_, row)| row.1 > 1).for_each(|(key, row)| add(text(key, row))),
            "sums" => self.by_group().keys().for_each(|group| add(text(group, self.sum(*group).unwrap()))),
            "counts" => self.by_group().iter().for_each(|(group, rows)| add(text(group, rows.len()))),
            "best" => self.by_group().into_iter().for_each(|(group, mut rows)| {
                rows.sort_by_key(|(account, amount)| (-amount, *account));
                rows.truncate(2);
                add(text(group, rows));
            }),
            "distinct" => {
                let rows: BTreeSet<(u8, i32)> =
                    self.accounts.values().map(|(group, amount)| (*group, amount.abs())).collect();
                rows.iter().for_each(|(group, amount)| add(text(group, amount)));
            }
            "halves" => {
                for (account, (group, amount)) in &self.accounts {
                    (0..amount / 2).for_each(|_| add(text(account, group)));
                }
                self.groups.iter().for_each(|(group, (other, _))| add(text(group, other)));
            }
            "reach" => {
                for from in self.accounts.keys() {
                    let (mut reached, mut at) = (BTreeSet::new(), *from);
                    while let Some((to, _)) = self.accounts.get(&at)
                        && reached.insert(*to)
                    {
                        at = *to;
                    }
                    reached.iter().for_each(|to| add(text(from, to)));
                }
            }
            _ => self.by_group().iter().for_each(|(group, rows)| {
                let limit = self.groups.get(group);
                for row in rows {
                    match (view, limit) {
                        ("joined", Some(limit)) => add(text(group, (row, limit))),
                        ("within", Some(_)) | ("without", None) => add(text(group, row)),
                        _ => {}
                    }
                }
            }),
        }
        rows
    }
}

/// The expected changes of each view, and what the event of each account finds, each with its event time.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    changes: Vec<(i64, (String, String, isize))>,
    upserts: Vec<(i64, ToldRow)>,
    looked_up: Vec<(i64, (u64, Option<i64>))>,
}

fn expected(log: &[Event]) -> Expected {
    let mut log = log.to_vec();
    log.sort_by_key(|event| (event.time, event.id));
    let (mut base, mut expected) = (Base::default(), Expected::default());
    for now in log.chunk_by(|a, b| a.time == b.time) {
        let (time, before) = (now[0].time, base.clone());
        now.iter().for_each(|event| base.apply(event));
        for view in VIEWS {
            let (old, new) = (before.view(view), base.view(view));
            if ["sums", "counts", "best"].contains(&view) {
                let row = |rows: &View, key: u8| {
                    let prefix = format!("{key:?} ");
                    rows.keys().find_map(|row| row.strip_prefix(&prefix).map(str::to_owned))
                };
                let changed = (0..=u8::MAX).filter(|key| row(&old, *key) != row(&new, *key));
                expected.upserts.extend(changed.map(|key| (time, (view.to_owned(), key, row(&new, key)))));
            } else {
                let rows: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                let count = |rows: &View, row: &String| rows.get(row).copied().unwrap_or(0);
                let changed = rows.into_iter().filter(|row| count(&old, row) != count(&new, row));
                expected.changes.extend(
                    changed.map(|row| (time, (view.to_owned(), row.clone(), count(&new, row) - count(&old, row)))),
                );
            }
        }
        let accounts = now.iter().filter(|event| event.is_account);
        let groups = accounts.filter_map(|event| event.row.map(|(group, _)| (event.id, group)));
        expected.looked_up.extend(groups.map(|(id, group)| (time, (id, base.sum(group)))));
    }
    expected.changes.sort();
    expected.upserts.sort();
    expected.looked_up.sort();
    expected
}

/// Generates events of two partitions from `start` on, many of them with the same time and key. Each has a place in the
/// input, which is less than `behind` ms after its time.
fn events(start: impl Strategy<Value = i64>, behind: i64) -> impl Strategy<Value = Vec<(i64, Event)>> {
    let row = prop::option::weighted(0.8, (0..4_u8, -3..5_i32));
    let event = (prop_oneof![1 => Just(0_i64), 2 => 1..8_i64], 0..behind, prop::bool::weighted(0.8), 0..6_u8, row);
    (start, prop::collection::vec(event, 20..300)).prop_map(|(mut now, events)| {
        let mut placed: Vec<(i64, Event)> = (0..)
            .zip(events)
            .map(|(id, (step, early, is_account, key, row))| {
                now += step;
                (now + early, Event { time: now, id, is_account, key, row })
            })
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        placed
    })
}

/// Returns the partition and the time of an event.
fn place_of(event: &Event) -> (usize, i64) {
    (event.id as usize % 2, event.time)
}

fn timed<T: Ord + Data>(sink: &TestSink<T>) -> Vec<(i64, T)> {
    sorted(sink.records().into_iter().map(|record| (record.event_time.0, record.data)).collect())
}

/// Returns what is in only one of the lists: found (+) or expected (−).
fn differences<T: Ord + Debug>(found: Vec<T>, expected: Vec<T>) -> Vec<String> {
    let mut counts = BTreeMap::<T, i32>::new();
    found.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    expected.into_iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    counts.into_iter().filter(|(_, count)| *count != 0).map(|(row, count)| format!("{count:+} {row:?}")).collect()
}

/// Checks that the sinks received what a loop over all events computes.
fn check(events: &[(i64, Event)], sinks: &Sinks) -> Result<(), TestCaseError> {
    let log: Vec<Event> = events.iter().map(|(_, event)| *event).collect();
    let expected = expected(&log);
    prop_assert_eq!(differences(timed(&sinks.changes), expected.changes), Vec::<String>::new());
    prop_assert_eq!(differences(timed(&sinks.upserts), expected.upserts), Vec::<String>::new());
    prop_assert_eq!(differences(timed(&sinks.looked_up), expected.looked_up), Vec::<String>::new());
    prop_assert_eq!(sinks.superseded.output(), []);
    prop_assert_eq!(sinks.late.output(), Vec::<Option<u64>>::new());
    Ok(())
}

fn simulated(sim: &Simulation) -> Sinks {
    let (changes, upserts, looked_up) = (sim.sink(), sim.sink(), sim.sink());
    Sinks { changes, upserts, looked_up, late: sim.sink(), superseded: sim.sink() }
}

/// Checks the final result where the schedule decides from which time on a late event is valid: the tables have the
/// newest row of each key, the views are those of these rows, superseded rows are older, and each event is emitted
/// once.
fn check_the_end(events: &[(i64, Event)], sinks: &Sinks) -> Result<(), TestCaseError> {
    let mut log: Vec<Event> = events.iter().map(|(_, event)| *event).collect();
    log.sort_by_key(|event| (event.time, event.id));
    let mut base = Base::default();
    log.iter().for_each(|event| base.apply(event));
    let mut emitted: BTreeMap<String, View> = BTreeMap::new();
    for (view, row, change) in sinks.changes.output() {
        *emitted.entry(view).or_default().entry(row).or_default() += change;
    }
    // The upserts of a key are in order.
    let mut upserts: BTreeMap<(String, u8), Option<String>> = BTreeMap::new();
    sinks.upserts.output().into_iter().for_each(|(view, key, row)| _ = upserts.insert((view, key), row));
    for ((view, key), row) in upserts {
        row.into_iter()
            .for_each(|row| _ = emitted.entry(view.clone()).or_default().insert(format!("{key:?} {row}"), 1));
    }
    for view in VIEWS {
        let mut rows = emitted.remove(view).unwrap_or_default();
        rows.retain(|_, count| *count != 0);
        prop_assert_eq!(rows, base.view(view), "{}", view);
    }
    let newest = |event: &Event| {
        let mut same = log.iter().filter(|other| (other.is_account, other.key) == (event.is_account, event.key));
        same.all(|other| (other.time, other.id) <= (event.time, event.id))
    };
    for stale in sinks.superseded.output() {
        let mut such = log.iter().filter(|event| (event.key, event.row) == (stale.key, stale.row));
        prop_assert!(such.any(|event| !newest(event)), "{:?} is the newest", stale);
    }
    let ids = sinks
        .looked_up
        .output()
        .into_iter()
        .map(|(id, _)| id)
        .chain(sinks.late.output().into_iter().flatten())
        .collect();
    prop_assert_eq!(
        sorted(ids),
        sorted(log.iter().filter(|event| event.is_account && event.row.is_some()).map(|event| event.id).collect())
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 60, ..cases(16) })]

    #[test]
    fn views_emit_what_a_loop_finds_through_crashes(
        events in events(Just(-300), 20),
        crashes in crashes(),
        workers in 1..5_usize,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut test = ProgramTest::new();
        test.state_memory(state_memory);
        let source = test.source();
        let sinks = Sinks {
            changes: test.sink(),
            upserts: test.sink(),
            looked_up: test.sink(),
            late: test.sink(),
            superseded: test.sink(),
        };
        let (from, to) = (source.clone(), sinks.clone());
        test.start(workers, move |flow| build(flow, &from, &to));
        feed(&source, &events, 20, place_of, |at| crash_at(&mut test, &crashes, at, events.len()));
        test.finish();
        check(&events, &sinks)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..cases(200) })]

    /// At a checkpoint, workers and outputs have different watermarks more often here than on real threads.
    #[test]
    fn views_emit_what_a_loop_finds_in_simulated_worlds(events in events(Just(-300), 20), seed: u64) {
        let mut sim = Simulation::new(seed);
        let settings = sim.settings();
        (settings.crashes, settings.stalls, settings.reorder) = (8, 0.2, millis(15));
        let source = sim.source();
        let sinks = simulated(&sim);
        let every = sim.draw(2..30);
        feed(&source, &events, every, place_of, |_| ());
        let (from, to) = (source.clone(), sinks.clone());
        sim.run(move |flow| build(flow, &from, &to));
        check(&events, &sinks)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..cases(200) })]

    /// Events are far behind the watermark or close to the limits of event time, and a partition is sometimes idle.
    #[test]
    fn late_changes_leave_the_newest_rows(
        events in events(prop_oneof![Just(i64::MIN + 20), Just(-300), Just(i64::MAX - 2_500)], 100),
        away in 2..40_usize,
        seed: u64,
    ) {
        let mut sim = Simulation::new(seed);
        let settings = sim.settings();
        (settings.crashes, settings.stalls) = (5, 0.1);
        let (source, sinks) = (sim.source(), simulated(&sim));
        source.idle(2);
        let every = sim.draw(2..30);
        for (at, (place, event)) in events.iter().enumerate() {
            if at % away == 1 {
                source.push_to(2, event.time, *event);
                source.idle(2);
            } else {
                source.push_to(place_of(event).0, event.time, *event);
            }
            if at % every == every - 1 {
                (0..2).for_each(|partition| source.watermark_of(partition, place - 20));
            }
        }
        let (from, to) = (source, sinks.clone());
        sim.run(move |flow| build(flow, &from, &to));
        check_the_end(&events, &sinks)?;
    }
}

type Score = (u8, Option<i32>);

fn scores() -> Changelog<Score, u8, i32> {
    Changelog::new(|(key, row)| Upsert { key, row })
}

fn put(key: u8, row: i32) -> Upsert<u8, i32> {
    Upsert::put(key, row)
}

#[test]
fn a_late_change_holds_from_the_watermark_on_unless_a_later_one_holds() {
    let mut test = ProgramTest::new();
    let (source, rows, stale) = (test.source::<Score>(), test.sink(), test.sink());
    let (from, to, aside) = (source.clone(), rows.clone(), stale.clone());
    test.start(2, move |flow| {
        let output = flow.source("log", &from)?.table("scores", scores())?;
        output.superseded.sink("stale", &aside)?;
        output.results.upserts("emitted-rows")?.sink("rows", &to)
    });
    source.push(10, (1, Some(5)));
    source.watermark(100);
    source.push(50, (1, Some(6))); // late, but the newest row of its key
    source.push(30, (1, Some(7))); // older than that
    source.push(60, (2, Some(8)));
    source.push(60, (2, Some(8))); // the same again
    test.crash(1);
    source.push(40, (1, None));
    source.push(110, (2, None));
    source.push(110, (3, Some(1)));
    source.push(110, (3, Some(2))); // of two rows with the same time, the greater one wins
    test.finish();
    let expected = [(10, put(1, 5)), (100, put(1, 6)), (100, put(2, 8)), (110, Upsert::delete(2)), (110, put(3, 2))];
    assert_eq!(timed(&rows), expected);
    assert_eq!(sorted(stale.output()), [Upsert { key: 1, row: None }, put(1, 7)]);
}

#[test]
fn a_view_that_computes_something_else_after_a_restore_emits_what_differs() {
    let mut test = ProgramTest::new();
    let (source, rows, changes) = (test.source::<Score>(), test.sink(), test.sink());
    let least = Arc::new(AtomicI32::new(0));
    let (from, to, also, limit) = (source.clone(), rows.clone(), changes.clone(), Arc::clone(&least));
    test.start(3, move |flow| {
        let least = limit.load(Ordering::Relaxed);
        let table = flow.source("log", &from)?.table("scores", scores())?.results;
        let view = table.filter(move |_, row| *row >= least).map(move |key, row| (key, row + least / 10));
        view.clone().upserts("emitted-rows")?.sink("rows", &to)?;
        view.changes("emitted-changes")?.sink("changes", &also)
    });
    source.push(1, (1, Some(5)));
    source.push(2, (2, Some(50)));
    source.watermark(10);
    assert_eq!(timed(&rows), [(1, put(1, 5)), (2, put(2, 50))]);
    assert_eq!(changes.output().len(), 2);
    test.crash(2);
    source.watermark(20);
    assert_eq!(timed(&rows), [], "the same view has nothing to emit");
    assert_eq!(timed(&changes), []);
    least.store(10, Ordering::Relaxed);
    test.crash(4);
    source.watermark(30);
    assert_eq!(timed(&rows), [(20, Upsert::delete(1)), (20, put(2, 51))]);
    let change = |key, row, change| (20, Change { key, row, change });
    assert_eq!(timed(&changes), [change(1, 5, -1), change(2, 50, -1), change(2, 51, 1)]);
    source.push(40, (1, Some(12)));
    test.finish();
    assert_eq!(timed(&rows), [(40, put(1, 13))]);
}

#[test]
fn a_key_with_two_rows_is_a_dead_letter_of_upserts_and_what_was_emitted_stays() {
    let mut test = ProgramTest::new();
    let (source, rows, letters) = (test.source::<Score>(), test.sink(), test.sink::<DeadLetter>());
    let (from, to, dead) = (source.clone(), rows.clone(), letters.clone());
    test.start(2, move |flow| {
        let table = flow.source("log", &from)?.table("scores", scores())?.results;
        table.map(|key, row| (key % 2, row)).upserts("emitted-rows")?.sink("rows", &to)?;
        flow.dead_letters().sink("letters", &dead)
    });
    source.push(1, (1, Some(5)));
    source.push(2, (3, Some(6)));
    source.watermark(10);
    assert_eq!(timed(&rows), [(1, put(1, 5))]);
    let letters = letters.output();
    assert!(letters.len() == 1 && letters[0].reason.contains("2 rows of the key"), "{letters:?}");
    source.push(20, (1, None));
    test.finish();
    assert_eq!(timed(&rows), [(20, put(1, 6))]);
}
