//! A program with changed parameters and old state, for each parameter of each operator of the library. Either it is
//! refused before the first record, with both values in the message, or its answers are right.

use std::fmt::Debug;

use proptest::prelude::*;
use tidemill::deduplicate::DeduplicateLogic;
use tidemill::join::{IntervalJoinLogic, TemporalJoinLogic};
use tidemill::pattern::PatternLogic;
use tidemill::prelude::*;
use tidemill::table::{ChangelogLogic, Readers, Versioned};
use tidemill::testing::{LogicTest, ProgramTest, TestSink, TestSource};
use tidemill::throttle::ThrottleLogic;
use tidemill::window::{WindowLogic, WindowSpec};

use crate::changes::says;
use crate::joins::between_ms;
use testkit::script::{cases, ms};

/// A key and a value.
type Input = (u8, i64);

/// Opens an operator's logic with some parameters.
type Open<L> = Box<dyn Fn(&mut States<'_, u8>) -> Result<L, JobError>>;

/// The changed parameters, and the texts for the old and the new ones that the message must contain.
type Change<P> = (P, &'static str, &'static str);

/// Returns records of a few keys, one per millisecond.
fn inputs<T>(make: impl Fn(u8, i64) -> T) -> Vec<(i64, T)> {
    (0..60_i64).map(|n| (n, make((n % 3) as u8, n))).collect()
}

/// Feeds records, with watermarks in between.
fn feed<L: KeyedLogic>(test: &mut LogicTest<L>, inputs: &[(i64, L::In)]) {
    for (time, input) in inputs {
        test.push(*time, input.clone());
        if time % 7 == 0 {
            test.watermark(time - 3);
        }
    }
}

/// Feeds the remaining records and returns all results, sorted.
fn all<L: KeyedLogic>(mut test: LogicTest<L>, rest: &[(i64, L::In)]) -> Vec<String>
where
    L::Out: Debug,
    L::Side: Debug,
{
    feed(&mut test, rest);
    test.finish();
    let results = test.output().into_iter().map(|result| format!("{result:?}"));
    let mut all: Vec<String> = results.collect();
    all.extend(test.side().into_iter().map(|record| format!("at the side: {record:?}")));
    all.sort();
    all
}

/// Checks that each of `changes` is refused over the state of `base`, and `base` over the state of each change, and
/// that the `harmless` ones are accepted.
fn check<L, P>(
    key: fn(&L::In) -> u8,
    inputs: &[(i64, L::In)],
    open: fn(P) -> Open<L>,
    base: P,
    changes: Vec<Change<P>>,
    harmless: Vec<P>,
) where
    L: KeyedLogic<Key = u8>,
    L::Out: Debug,
    L::Side: Debug,
    P: Clone,
{
    let (first, second) = inputs.split_at(inputs.len() / 2);
    let begun = |parameters: &P| {
        let mut test = LogicTest::new(Order::EventTime, key, open(parameters.clone()));
        feed(&mut test, first);
        test.checkpoint();
        test
    };
    let unchanged = |parameters: &P| {
        let whole = all(begun(parameters), second);
        let again = begun(parameters).upgrade(2, open(parameters.clone())).unwrap();
        assert_eq!(all(again, second), whole);
        assert!(!whole.is_empty(), "a test of nothing");
    };
    unchanged(&base);
    for (changed, of_base, of_changed) in changes {
        unchanged(&changed);
        for (before, after) in [(&base, &changed), (&changed, &base)] {
            let error = begun(before).upgrade(1, open(after.clone())).err().expect("a refusal").report();
            says(&error, &["the checkpoint has", of_base, of_changed, "state \"logic/", "drop_state"]);
        }
    }
    for changed in harmless {
        begun(&base).upgrade(1, open(changed)).unwrap();
    }
}

/// An assigner of hours that begin at the given time.
struct Hours(i64);

impl WindowAssigner for Hours {
    fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window)) {
        let start = EventTime((time.0 - self.0).div_euclid(3600) * 3600 + self.0);
        found(Window { start, end: start.plus_ms(3600) });
    }

    fn parameters(&self) -> String {
        format!("hours that begin at {}", self.0)
    }
}

/// Returns a changed specification. All fields are named, so that a new one does not compile without being added here.
fn spec(change: impl FnOnce(&mut WindowSpec)) -> WindowSpec {
    let WindowSpec { assigner: _, clock: _, allowed_lateness: _, trigger: _, mode: _ } = BASE;
    let mut spec = BASE;
    change(&mut spec);
    spec
}

const BASE: WindowSpec = WindowSpec::new(Assigner::tumbling(millis(20)));

fn of(assigner: Assigner) -> WindowSpec {
    WindowSpec::new(assigner)
}

#[test]
fn windows() {
    const TUMBLING: &str = "tumbling windows of 20 ms of event time";
    let open = |spec: WindowSpec| -> Open<_> { Box::new(move |s| WindowLogic::open(s, spec, counting::<Input>())) };
    let key = |input: &Input| input.0;
    let early = Trigger::on_watermark();
    let changes = vec![
        (of(Assigner::tumbling(millis(30))), TUMBLING, "tumbling windows of 30 ms"),
        (of(Assigner::tumbling(millis(20)).offset(millis(5))), TUMBLING, "tumbling windows of 20 ms from 5 ms on"),
        (of(Assigner::sliding(millis(20), millis(10))), TUMBLING, "sliding windows of 20 ms every 10 ms"),
        (of(Assigner::session(millis(20))), TUMBLING, "sessions with a gap of 20 ms"),
        (of(Assigner::count(20)), TUMBLING, "windows of 20 records"),
        (of(Assigner::Global), TUMBLING, "one window of all time"),
        (of(Assigner::days("Europe/Vienna")), TUMBLING, "days of Europe/Vienna"),
        (of(Hours(1).into()), TUMBLING, "hours that begin at 1"),
        (spec(|spec| spec.clock = TimeDomain::Processing), TUMBLING, "of 20 ms of processing time"),
        (spec(|spec| spec.allowed_lateness = millis(5)), "allowed lateness 0 ms", "allowed lateness 5 ms"),
        (spec(|spec| spec.mode = AccumulationMode::Discarding), "Accumulating", "Discarding"),
        (spec(|spec| spec.mode = AccumulationMode::Retracting), "Accumulating", "Retracting"),
        (
            spec(|spec| spec.trigger = early.every_records(2)),
            "fired on time, Acc",
            "fired on time, early every 2 records",
        ),
        (spec(|spec| spec.trigger = early.late_at_end()), "fired on time, Acc", "fired on time, late ones together"),
        (
            spec(|spec| spec.trigger = early.early_every(millis(5), TimeDomain::Event)),
            "fired on time, Acc",
            "fired on time, early every 5 ms of event time",
        ),
    ];
    check(key, &inputs(|key, n| (key, n)), open, BASE, changes, vec![]);

    let sliding = |size, slide| of(Assigner::sliding(ms(size), ms(slide)));
    let changes = vec![
        (sliding(21, 10), "of 20 ms every 10 ms", "of 21 ms every 10 ms"),
        (sliding(20, 5), "of 20 ms every 10 ms", "of 20 ms every 5 ms"),
        (
            of(Assigner::sliding(millis(20), millis(10)).offset(millis(3))),
            "every 10 ms of event",
            "every 10 ms from 3 ms on",
        ),
    ];
    check(key, &inputs(|key, n| (key, n)), open, sliding(20, 10), changes, vec![]);
    let changes = vec![
        (of(Assigner::count(3)), "windows of 5 records of", "windows of 3 records of"),
        (of(Assigner::Count { size: 5, every: 2 }), "windows of 5 records of", "windows of 5 records every 2"),
    ];
    check(key, &inputs(|key, n| (key, n)), open, of(Assigner::count(5)), changes, vec![]);
    let changes = vec![(of(Assigner::session(millis(4))), "a gap of 3 ms", "a gap of 4 ms")];
    check(key, &inputs(|key, n| (key, n)), open, of(Assigner::session(millis(3))), changes, vec![]);
    let changes = vec![(of(Hours(2).into()), "hours that begin at 1", "hours that begin at 2")];
    check(key, &inputs(|key, n| (key, n)), open, of(Hours(1).into()), changes, vec![]);
    let changes = vec![
        (of(Assigner::days("Europe/Dublin")), "days of Europe/Vienna", "days of Europe/Dublin"),
        (of(Assigner::weeks("Europe/Vienna")), "days of Europe/Vienna", "weeks of Europe/Vienna from Monday on"),
        (of(Assigner::weeks_from(Weekday::Sunday, "UTC")), "days of Europe/Vienna", "weeks of UTC from Sunday on"),
        (of(Assigner::months("Europe/Vienna")), "days of Europe/Vienna", "months of Europe/Vienna"),
        (of(Assigner::years("Europe/Vienna")), "days of Europe/Vienna", "years of Europe/Vienna"),
    ];
    let same = vec![of(Assigner::days("europe/vienna"))];
    check(key, &inputs(|key, n| (key, n)), open, of(Assigner::days("Europe/Vienna")), changes, same);
}

#[test]
fn aggregates_of_windows() {
    let open = |n: usize| -> Open<_> {
        Box::new(move |states| WindowLogic::open(states, BASE, top_n(n, |input: &Input| input.1)))
    };
    check(|input| input.0, &inputs(|key, n| (key, n)), open, 2, vec![(3, "the best 2", "the best 3")], vec![]);
    let open = |n: usize| -> Open<_> {
        let aggregate = move || (counting(), top_n(n, |input: &Input| input.1));
        Box::new(move |states| WindowLogic::open(states, BASE, aggregate()))
    };
    check(|input| input.0, &inputs(|key, n| (key, n)), open, 2, vec![(3, "the best 2", "the best 3")], vec![]);
}

#[test]
fn deduplication() {
    let open = |horizon: i64| -> Open<_> { Box::new(move |states| DeduplicateLogic::open(states, ms(horizon))) };
    let changes = vec![(8, "a horizon of 10 ms", "a horizon of 8 ms"), (12, "of 10 ms", "of 12 ms")];
    check(|input: &Input| input.0, &inputs(|key, n| (key, n)), open, 10, changes, vec![]);
}

#[test]
fn throttles() {
    let open = |rate: Rate| -> Open<_> { Box::new(move |states| ThrottleLogic::open(states, rate)) };
    let base = Rate { records: 2, per: millis(10), clock: TimeDomain::Event };
    let Rate { records: _, per: _, clock: _ } = base;
    let changes = vec![
        (Rate { per: millis(20), ..base }, "a rate per 10 ms of event time", "a rate per 20 ms of event time"),
        (Rate { clock: TimeDomain::Processing, ..base }, "per 10 ms of event", "per 10 ms of processing time"),
    ];
    let more = vec![Rate { records: 3, ..base }, Rate { records: 1, ..base }];
    check(|input: &Input| input.0, &inputs(|key, n| (key, n)), open, base, changes, more);
}

#[test]
fn the_number_of_a_throttle_counts_from_the_restart_on() {
    let rate = |records| Rate { records, per: millis(100), clock: TimeDomain::Event };
    for (after, passed) in [(3, vec![2]), (2, vec![]), (1, vec![])] {
        let open = |records| move |states: &mut States<'_, u8>| ThrottleLogic::<u8, i64>::open(states, rate(records));
        let mut test = LogicTest::new(Order::EventTime, |_: &i64| 0, open(2));
        (0..2).for_each(|n| test.push(n, n));
        test.watermark(2);
        assert_eq!(test.output(), [0, 1]);
        let mut test = test.upgrade(1, open(after)).unwrap();
        (2..5).for_each(|n| test.push(n, n));
        test.watermark(5);
        assert_eq!(test.output(), passed);
        test.push(100, 100);
        test.finish();
        assert_eq!(test.output(), [100]);
    }
}

#[test]
fn patterns() {
    let begin = |within_ms| Pattern::begin(ms(within_ms), |input: &Input| input.1 % 5 == 0);
    let two = begin(20).followed_by(|input| input.1 % 7 == 0);
    let open =
        |pattern: Pattern<Input>| -> Open<_> { Box::new(move |states| PatternLogic::open(states, pattern.clone())) };
    let longer = begin(30).followed_by(|input| input.1 % 7 == 0);
    let three = two.clone().followed_by(|input| input.1 % 2 == 0);
    let unless = begin(20).followed_by_unless(|input| input.1 % 7 == 0, |input| input.1 % 11 == 0);
    let never = begin(20).never_followed_by(|input| input.1 % 7 == 0);
    let changes = vec![
        (longer, "a pattern of begin, then within 20 ms", "a pattern of begin, then within 30 ms"),
        (three, "begin, then within", "begin, then, then within"),
        (unless, "begin, then within", "begin, unless within"),
        (never, "begin, then within", "begin, never within"),
    ];
    check(|input: &Input| input.0, &inputs(|key, n| (key, n)), open, two, changes, vec![]);
}

type Sides = Either<Input, Input>;

/// Returns records of the two sides by turns.
fn either(key: u8, n: i64) -> Sides {
    if n % 2 == 0 { Either::First((key, n)) } else { Either::Second((key, n)) }
}

fn key_of(either: &Sides) -> u8 {
    let (Either::First(input) | Either::Second(input)) = either;
    input.0
}

#[test]
fn interval_joins() {
    type Parameters = (Between, JoinKind);
    let open = |(between, kind): Parameters| -> Open<_> {
        Box::new(move |states| IntervalJoinLogic::<u8, Input, Input>::open(states, between, kind))
    };
    let base = between_ms(-10, 20);
    let Between { lower: _, upper: _ } = base;
    const BOTH: &str = "an inner join between -10 and 20 ms";
    let changes = vec![
        ((between_ms(-11, 20), JoinKind::Inner), BOTH, "an inner join between -11 and 20 ms"),
        ((between_ms(-10, 15), JoinKind::Inner), BOTH, "an inner join between -10 and 15 ms"),
        ((base, JoinKind::Left), BOTH, "a left join"),
        ((base, JoinKind::Right), BOTH, "a right join"),
        ((base, JoinKind::Full), BOTH, "a full join"),
    ];
    check(key_of, &inputs(either), open, (base, JoinKind::Inner), changes, vec![]);
}

#[test]
fn temporal_joins() {
    let open = |table: TemporalTable<Input>| -> Open<_> {
        Box::new(move |states| TemporalJoinLogic::<u8, Input, Input>::open(states, table.clone()))
    };
    let base = TemporalTable::<Input>::new().history(millis(5));
    let changes = vec![
        (base.clone().history(millis(10)), "a history of 5 ms", "a history of 10 ms"),
        (base.clone().deleted_by(|version| version.1 % 9 == 0), "without deletions", "with deletions"),
    ];
    check(key_of, &inputs(either), open, base, changes, vec![]);
}

/// After a restore, a table emits its rows again for its views.
#[test]
fn tables() {
    let open = |deletions: i64| {
        move |states: &mut States<'_, u8>| ChangelogLogic::<u8, i64>::open(states, Readers::default(), ms(deletions))
    };
    let inputs = inputs(|key, n| Versioned { key, sequence: 0, row: (n % 4 > 0).then_some(n) });
    for (before, after) in [(10, 20), (20, 10), (10, 10)] {
        let mut test = LogicTest::new(Order::EventTime, |versioned: &Versioned<u8, i64>| versioned.key, open(before));
        feed(&mut test, &inputs);
        test.checkpoint();
        let upgraded = test.upgrade(2, open(after));
        if before == after {
            upgraded.unwrap();
            continue;
        }
        let error = upgraded.err().expect("a refusal").report();
        says(&error, &[&format!("deletions for {before} ms"), &format!("deletions for {after} ms"), "logic/versions"]);
    }
}

/// A broadcast join has no parameters that its state depends on.
#[test]
fn a_broadcast_join_goes_on() {
    let mut test = ProgramTest::new();
    let (source, rules, out) = (test.source::<Input>(), test.source::<i64>(), test.sink::<i64>());
    let program = || {
        let (from, with, to) = (source.clone(), rules.clone(), out.clone());
        move |flow: &Flow<'_>| {
            let rules = flow.source("rules", &with)?;
            let records = flow.source("records", &from)?;
            let sum = |total: &mut i64, rule: i64| *total += rule;
            records
                .key_by(|r| r.0)
                .broadcast_join("sums", rules.broadcast(sum), |total, r| [*total + r.1])?
                .sink("out", &to)
        }
    };
    test.start(1, program());
    rules.push(0, 100);
    rules.watermark(1);
    source.watermark(1);
    test.settle();
    test.upgrade(2, program());
    source.push(5, (1, 7));
    test.finish();
    assert_eq!(out.output(), [107]);
}

/// Emits the count and sum of each window of one rolling aggregate.
struct Spent(Rolling<u8>);

impl KeyedLogic for Spent {
    type Key = u8;
    type In = Input;
    type Out = (Input, Vec<(u64, f64)>);
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, record: Record<Input>) -> Result<(), LogicError> {
        let totals = |rolled: Rolled<'_>| rolled.windows.iter().map(|w| (w.count, w.sum())).collect::<Vec<_>>();
        let totals = self.0.add(ctx, record.data.1 as f64, totals)?;
        ctx.emit((record.data, totals));
        Ok(())
    }
}

fn lengths() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1..40_i64, 1..5)
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn rolling_windows_of_other_lengths_are_right_or_refused(
        steps in prop::collection::vec((1..8_i64, 0..2_u8), 1..80),
        lengths in (lengths(), lengths(), lengths()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let open = |lengths: Vec<i64>| {
            let lengths: Vec<_> = lengths.into_iter().map(ms).collect();
            move |states: &mut States<'_, u8>| Ok(Spent(Rolling::open(states, "spent", &lengths)?))
        };
        let mut now = 0;
        let events: Vec<(i64, Input)> = (0..).zip(steps).map(|(n, (on, key))| {
            now += on;
            (now, (key, n))
        }).collect();
        let (one, two) = (cuts.0.index(events.len()), cuts.1.index(events.len()));
        let parts = [0..one.min(two), one.min(two)..one.max(two), one.max(two)..events.len()];
        let lengths = [lengths.0, lengths.1, lengths.2];
        let (mut before, mut allowed) = (None::<LogicTest<Spent>>, None);
        for (part, lengths) in parts.into_iter().zip(&lengths) {
            let longest = lengths.iter().max();
            let mut test = match before {
                None => LogicTest::new(Order::EventTime, |input: &Input| input.0, open(lengths.clone())),
                Some(before) => match before.upgrade(2, open(lengths.clone())) {
                    Ok(_) if longest > allowed => panic!("{lengths:?} after {allowed:?}"),
                    Ok(test) => test,
                    Err(error) => {
                        prop_assert!(longest > allowed);
                        says(&error.report(), &["state \"logic/spent\"", &format!("rolling windows of {lengths:?} ms")]);
                        return Ok(());
                    }
                },
            };
            allowed = longest;
            events[part.clone()].iter().for_each(|(time, input)| test.push(*time, *input));
            test.watermark(events[..part.end].last().map_or(0, |(time, _)| *time));
            for ((key, n), totals) in test.output() {
                let at = events[n as usize].0;
                let expected: Vec<(u64, f64)> = lengths.iter().map(|length| {
                    let within = events[..=n as usize].iter().filter(|(time, input)| input.0 == key && *time > at - length);
                    within.fold((0, 0.0), |(count, sum), (_, input)| (count + 1, sum + input.1 as f64))
                }).collect();
                prop_assert_eq!(totals, expected, "{:?} of {:?}", (key, n), lengths);
            }
            before = Some(test);
        }
    }
}

/// Generates specifications of windows from so few values that two of them are often the same.
fn specs() -> impl Strategy<Value = WindowSpec> {
    let small = || prop::sample::select(&[10_i64, 20][..]);
    let assigner = prop_oneof![
        small().prop_map(|size| Assigner::tumbling(ms(size))),
        (small(), prop::sample::select(&[5_i64, 10][..]))
            .prop_map(|(size, slide)| Assigner::sliding(ms(size), ms(slide))),
        small().prop_map(|gap| Assigner::session(ms(gap))),
        prop::sample::select(&[2_u64, 3][..]).prop_map(Assigner::count),
        prop::sample::select(&["UTC", "Asia/Kathmandu"][..]).prop_map(Assigner::days),
    ];
    let mode = prop::sample::select(
        &[AccumulationMode::Accumulating, AccumulationMode::Discarding, AccumulationMode::Retracting][..],
    );
    let trigger = prop::sample::select(&[0_u64, 0, 2, 3][..]);
    (assigner, mode, trigger, prop::sample::select(&[0_i64, 0, 15][..])).prop_map(
        |(assigner, mode, records, lateness)| {
            let counted = matches!(assigner, Assigner::Count { .. });
            WindowSpec {
                mode: if counted { AccumulationMode::Accumulating } else { mode },
                trigger: match records {
                    1.. if !counted => Trigger::on_watermark().every_records(records),
                    _ => Trigger::on_watermark(),
                },
                allowed_lateness: ms(lateness),
                ..WindowSpec::new(assigner)
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn windows_over_old_state_are_the_same_windows_or_none(
        specs in prop_oneof![specs().prop_map(|spec| (spec, spec)), (specs(), specs())],
        steps in prop::collection::vec((-20..20_i64, 0..3_u8), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let open = |spec: WindowSpec| move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
        let inputs: Vec<(i64, Input)> =
            (0..).zip(steps).map(|(n, (off, key))| (3 * n + off, (key, n))).collect();
        let (first, second) = inputs.split_at(cut.index(inputs.len()));
        let begun = || {
            let mut test = LogicTest::new(Order::EventTime, |input: &Input| input.0, open(specs.0));
            feed(&mut test, first);
            test.checkpoint();
            test
        };
        match begun().upgrade(3, open(specs.1)) {
            Ok(test) => prop_assert_eq!((specs.0, all(test, second)), (specs.1, all(begun(), second))),
            // A checkpoint has the parameters even if there was no record.
            Err(error) => {
                prop_assert_ne!(specs.0, specs.1);
                says(&error.report(), &["the checkpoint has", "this program has", "state \"logic/"]);
            }
        }
    }
}

fn program(
    source: &TestSource<i64>,
    sink: &TestSink<Windowed<u8, u64>>,
    name: &'static str,
    assigner: Assigner,
) -> impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static {
    let (source, sink) = (source.clone(), sink.clone());
    move |flow| {
        let windows = flow.source("source", &source)?.key_by(|_| 0_u8).window(name, assigner);
        windows.aggregate(counting())?.results.sink("out", &sink)
    }
}

/// These are the changes that users reported.
#[test]
fn a_program_with_other_windows_is_refused_and_goes_on_with_the_old_ones_or_under_another_name() {
    let of = [
        (Assigner::count(5), Assigner::count(3), "windows of 5 records of", "windows of 3 records of"),
        (Assigner::count(3), Assigner::count(5), "windows of 3 records of", "windows of 5 records of"),
        (
            Assigner::sliding(millis(60), millis(20)),
            Assigner::sliding(millis(60), millis(30)),
            "of 60 ms every 20 ms",
            "of 60 ms every 30 ms",
        ),
        (
            Assigner::sliding(millis(60), millis(20)),
            Assigner::sliding(millis(40), millis(20)),
            "of 60 ms every 20 ms",
            "of 40 ms every 20 ms",
        ),
        (
            Assigner::tumbling(millis(60)),
            Assigner::tumbling(millis(20)),
            "tumbling windows of 60 ms",
            "tumbling windows of 20 ms",
        ),
        (Assigner::tumbling(millis(60)), Assigner::count(3), "tumbling windows of 60 ms", "windows of 3 records"),
    ];
    for (before, after, old, new) in of {
        let mut test = ProgramTest::new();
        let (source, out) = (test.source(), test.sink());
        test.start(1, program(&source, &out, "windows", before));
        [1, 15, 25, 31].into_iter().for_each(|time| source.push(time, time));
        source.pass();
        let emitted = out.output().iter().map(|emitted| emitted.value).sum::<u64>();
        let error = test.refused(1, program(&source, &out, "windows", after)).report();
        says(&error, &["state \"windows/", old, new, "drop_state", "another name"]);
        // The refused start has changed nothing for the old program.
        test.crash(2);
        source.push(35, 35);
        let emitted = emitted + out.output().iter().map(|emitted| emitted.value).sum::<u64>();
        test.changes(&[], &["windows"]);
        test.upgrade(1, program(&source, &out, "other windows", after));
        (40..46).for_each(|time| source.push(time, time));
        test.finish();
        let emitted_after: u64 = out.output().iter().map(|emitted| emitted.value).sum();
        assert!(emitted_after > 0 && emitted <= 5, "{emitted} {emitted_after}");
    }
}

/// A user's own logic may declare the parameters that its state depends on.
#[test]
fn parameters_of_custom_logic() {
    struct Sum(ValueState<u8, i64>);
    impl KeyedLogic for Sum {
        type Key = u8;
        type In = Input;
        type Out = i64;
        type Side = ();
        fn on_record(&mut self, ctx: &mut Context<'_, u8, i64, ()>, record: Record<Input>) -> Result<(), LogicError> {
            let sum = self.0.update(
                ctx,
                || 0,
                |sum| {
                    *sum += record.data.1;
                    *sum
                },
            )?;
            ctx.emit(sum);
            Ok(())
        }
    }
    type Says = Option<&'static str>;
    fn open(says: Says) -> impl Fn(&mut States<'_, u8>) -> Result<Sum, JobError> {
        move |states| {
            Ok(Sum(match says {
                Some(says) => states.with_parameters(says).value("sum")?,
                None => states.value("sum")?,
            }))
        }
    }
    let begun = |says: Says| {
        let mut test = LogicTest::new(Order::EventTime, |input: &Input| input.0, open(says));
        test.push(1, (1, 5));
        test.watermark(2);
        test.checkpoint();
        test
    };
    let goes_on = |test: Result<LogicTest<Sum>, JobError>| {
        let mut test = test.unwrap();
        test.push(3, (1, 2));
        test.finish();
        assert_eq!(test.output(), [5, 7]);
    };
    let error = begun(Some("in cents")).upgrade(1, open(Some("in euros"))).err().unwrap().report();
    says(&error, &["state \"logic/sum\"", "in cents", "in euros"]);
    goes_on(begun(Some("in cents")).upgrade(2, open(Some("in cents"))));
    // If one side declares no parameters, there is nothing to compare.
    goes_on(begun(None).upgrade(1, open(Some("in cents"))));
    goes_on(begun(Some("in cents")).upgrade(1, open(None)));
}
