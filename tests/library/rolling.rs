//! Rolling aggregates, compared with values that are computed again at each event.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::LogicTest;

use testkit::exact;
use testkit::script::{Event, Step, cases, ms, play, play_part, seen, sorted, steps};

/// The id of an event, the count and sum of each window at this event, and the latest time of the key before it.
type Emitted = (u32, Vec<(u64, i64)>, Option<i64>);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Asked {
    Add(Event),
    /// Reads the windows of a key, which removes the events that have left them.
    Read(u8),
}

struct Counts(Rolling<u8>);

impl Counts {
    fn test(lengths: &[i64]) -> LogicTest<Self> {
        let windows: Vec<_> = lengths.iter().copied().map(ms).collect();
        let open = move |states: &mut States<'_, u8>| Ok(Self(Rolling::open(states, "counts", &windows)?));
        let key = |asked: &Asked| match asked {
            Asked::Add(Event { key, .. }) | Asked::Read(key) => *key,
        };
        LogicTest::new(Order::EventTime, key, open)
    }
}

impl KeyedLogic for Counts {
    type Key = u8;
    type In = Asked;
    type Out = Emitted;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Emitted, ()>, record: Record<Asked>) -> Result<(), LogicError> {
        let Asked::Add(Event { id, value, .. }) = record.data else { return Ok(self.0.read(ctx, |_| ())?) };
        let emitted = self.0.add(ctx, f64::from(value), |rolled| {
            let windows = rolled.windows.iter().map(|totals| (totals.count, totals.sum() as i64));
            (id, windows.collect(), rolled.previous.map(|time| time.0))
        })?;
        ctx.emit(emitted);
        Ok(())
    }
}

/// Returns t − W of an event, which may be before the beginning of time.
fn begin(now: &Event, length: i64) -> i128 {
    i128::from(now.time) - i128::from(length)
}

/// Returns the count and sum of the events in (t − W, t], where t is the time of the last of these events of a key.
fn within(seen: &[Event], length: i64) -> (u64, i64) {
    let Some(now) = seen.last() else { return (0, 0) };
    let inside = seen.iter().filter(|event| i128::from(event.time) > begin(now, length) && event.time <= now.time);
    inside.fold((0, 0), |(count, sum), event| (count + 1, sum + i64::from(event.value)))
}

/// Returns the count and sum if events may be late: an event leaves once it and all that arrived before it were outside
/// the window of some event.
fn within_late(seen: &[Event], length: i64) -> (u64, i64) {
    retained(seen, length).iter().fold((0, 0), |(count, sum), event| (count + 1, sum + i64::from(event.value)))
}

fn retained(seen: &[Event], length: i64) -> &[Event] {
    let mut first = 0;
    for (at, now) in seen.iter().enumerate() {
        while first <= at && i128::from(seen[first].time) <= begin(now, length) {
            first += 1;
        }
    }
    &seen[first..]
}

/// The id of an event, and the count, sum and mean of each window.
type AnyEmitted = (u32, Vec<(u64, f64, f64)>);

struct Sums(Rolling<u8>);

impl KeyedLogic for Sums {
    type Key = u8;
    type In = (Event, f64);
    type Out = AnyEmitted;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u8, AnyEmitted, ()>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        let (event, value) = record.data;
        let emitted = self.0.add(ctx, value, |rolled| {
            rolled.windows.iter().map(|totals| (totals.count, totals.sum(), totals.mean())).collect()
        })?;
        ctx.emit((event.id, emitted));
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn rolling(steps in steps(), lengths in prop::collection::vec(1..80_i64, 1..4)) {
        let mut test = Counts::test(&lengths);
        play_part(&mut test, &steps, Asked::Add);
        let latest = steps.iter().filter_map(|step| match step {
            Step::Event(event) => Some((event.key, event.time)),
            Step::Watermark(watermark) => Some((0, *watermark)),
            _ => None,
        });
        // A read after the end of all windows finds them empty and leaves none of their events in the state.
        if let Some(later) = latest.clone().map(|(_, time)| time).max().filter(|time| *time < i64::MAX - 200) {
            let later = later + 100;
            let mut untouched = Counts::test(&lengths);
            let keys: BTreeSet<u8> = latest.map(|(key, _)| key).collect();
            let read = |test: &mut LogicTest<Counts>, time: i64| {
                keys.iter().for_each(|key| test.push(time, Asked::Read(*key)));
                test.watermark(time + 1);
                test.state_bytes()
            };
            read(&mut test, later);
            test.crash(1);
            prop_assert_eq!(read(&mut test, later + 1), read(&mut untouched, later), "events are left");
        }
        test.finish();
        let mut keys: BTreeMap<u8, (Vec<Event>, bool)> = BTreeMap::new();
        let mut expected: Vec<Emitted> = Vec::new();
        for (event, _, late) in seen(&steps, |_| false) {
            let (seen, any_late) = keys.entry(event.key).or_default();
            let previous = seen.iter().map(|event| event.time).max();
            seen.push(event);
            *any_late |= late;
            let windows: Vec<_> = lengths.iter().map(|length| within_late(seen, *length)).collect();
            if !*any_late {
                let exact: Vec<_> = lengths.iter().map(|length| within(seen, *length)).collect();
                prop_assert_eq!(&windows, &exact);
            }
            expected.push((event.id, windows, previous));
        }
        prop_assert_eq!(sorted(test.output()), sorted(expected));
    }
}

proptest! {
    #![proptest_config(cases(80))]

    /// Sums are exact and rounded once, also while NaN, infinities, subnormals and the largest floats enter and leave
    /// the windows, and across restores.
    #[test]
    fn rolling_sums_of_any_floats(
        steps in steps(),
        lengths in prop::collection::vec(1..80_i64, 1..4),
        values in prop::collection::vec(exact::value(), 82),
    ) {
        let value = |event: &Event| values[event.id as usize % values.len()];
        let windows: Vec<_> = lengths.iter().copied().map(ms).collect();
        let open = move |states: &mut States<'_, u8>| Ok(Sums(Rolling::open(states, "sums", &windows)?));
        let mut test = LogicTest::new(Order::EventTime, |(event, _): &(Event, f64)| event.key, open);
        play(&mut test, &steps, |event| (event, value(&event)));
        let mut emitted: BTreeMap<u32, _> = test.output().into_iter().collect();
        let mut keys: BTreeMap<u8, Vec<Event>> = BTreeMap::new();
        for (event, _, _) in seen(&steps, |_| false) {
            let seen = keys.entry(event.key).or_default();
            seen.push(event);
            let emitted = emitted.remove(&event.id).unwrap();
            for ((count, sum, mean), length) in emitted.into_iter().zip(&lengths) {
                let retained: Vec<f64> = retained(seen, *length).iter().map(value).collect();
                let (right, n) = (exact::sum(&retained), retained.len() as f64);
                prop_assert_eq!(count, retained.len() as u64);
                prop_assert!(exact::same(sum, right), "{} is not {}, of {:?}", sum, right, retained);
                let halves: Vec<f64> = retained.iter().map(|value| value / 1024.0).collect();
                let (right, scaled) = (right / n, exact::sum(&halves) / n * 1024.0);
                let beyond = sum.is_infinite() && retained.iter().all(|value| value.is_finite());
                prop_assert!(exact::same(mean, if beyond { scaled } else { right }), "mean {} of {:?}", mean, retained);
            }
        }
        prop_assert!(emitted.is_empty());
    }
}

/// Keeps the cases by which the bug was found: a value that leaves the window must leave its sum as well.
#[test]
fn a_value_that_is_not_a_number_leaves_the_sum_with_its_event() {
    let big = f64::MAX / 1.5;
    for (values, sums) in [
        ([f64::NAN, 2.0, 3.0, 4.0], [f64::NAN, f64::NAN, 5.0, 7.0]),
        ([f64::INFINITY, f64::NEG_INFINITY, 3.0, 4.0], [f64::INFINITY, f64::NAN, f64::NEG_INFINITY, 7.0]),
        ([big, big, -big, -big], [big, f64::INFINITY, 0.0, -2.0 * big]),
        ([1e300, 1.0, 2.0, 4.0], [1e300, 1e300, 3.0, 6.0]),
    ] {
        let open = |states: &mut States<'_, u8>| Ok(Sums(Rolling::open(states, "sums", &[millis(2)])?));
        let mut test = LogicTest::new(Order::EventTime, |(event, _): &(Event, f64)| event.key, open);
        for (time, value) in (0..).zip(values) {
            test.push(time, (Event { time, id: time as u32, key: 0, value: 0 }, value));
        }
        test.finish();
        let emitted: Vec<f64> = test.output().iter().map(|(_, windows)| windows[0].1).collect();
        assert!(
            emitted.iter().zip(sums).all(|(emitted, right)| exact::same(*emitted, right)),
            "{emitted:?} is not {sums:?}"
        );
    }
}

/// Sums the last 50 ms of each key, and removes a key that had no record for as long.
struct Forgetful(Rolling<u8>);

impl KeyedLogic for Forgetful {
    type Key = u8;
    type In = u8;
    type Out = (u64, bool);
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, _: Record<u8>) -> Result<(), LogicError> {
        let emitted = self.0.add(ctx, 1.0, |rolled| (rolled.windows[0].count, rolled.previous.is_some()))?;
        ctx.emit(emitted);
        ctx.set_timer(ctx.event_time().plus_ms(50));
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, _: EventTime) -> Result<(), LogicError> {
        if self.0.read(ctx, |rolled| rolled.windows[0].count == 0)? {
            self.0.forget(ctx)?;
        }
        Ok(())
    }
}

#[test]
fn a_key_that_is_forgotten_leaves_nothing() {
    let open = |states: &mut States<'_, u8>| Ok(Forgetful(Rolling::open(states, "sums", &[millis(50)])?));
    let mut test = LogicTest::new(Order::EventTime, |key: &u8| *key, open);
    [(0, 1), (20, 1), (30, 2), (100, 1)].into_iter().for_each(|(time, key)| test.push(time, key));
    test.watermark(101);
    assert_eq!(test.output(), [(1, false), (2, true), (1, false), (1, false)]);
    assert!(test.state_bytes() > 0);
    test.watermark(151);
    assert_eq!(test.state_bytes(), 0);
}
