//! Keyed operators give the same results as a plain loop over all events, whatever the number of workers, the memory
//! limit and the order within the bound, and however often the job fails and is restored.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use testkit::lines;
use testkit::script::ms;
use tidemill::error::{ConnectorError, ErrorKind};
use tidemill::prelude::*;
use tidemill::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill::state::TtlClock;
use tidemill::window::Firing;

const BOUND_MS: i64 = 40;
const ROLLING_MS: [i64; 2] = [25, 300];
const TUMBLING_MS: i64 = 50;
const SLIDING_MS: (i64, i64) = (90, 40);
const GAP_MS: i64 = 30;
const TTL_MS: i64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Event {
    ts: i64,
    id: u64,
    key: u8,
    value: i32,
}

/// A source that fails after `records` records of the wrapped source, over all workers.
struct Breaking<S> {
    source: S,
    records: Arc<AtomicI64>,
}

struct BreakingReader<R> {
    reader: R,
    records: Arc<AtomicI64>,
}

impl<S: Source> Source for Breaking<S> {
    type Item = S::Item;
    type Reader = BreakingReader<S::Reader>;

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        Ok(BreakingReader { reader: self.source.open(context)?, records: Arc::clone(&self.records) })
    }
}

impl<R: SourceReader> SourceReader for BreakingReader<R> {
    type Item = R::Item;

    fn read(&mut self, batch: &mut Batch<R::Item>) -> Result<Next, ConnectorError> {
        let next = self.reader.read(batch)?;
        let read = batch.records().len() as i64;
        if self.records.fetch_sub(read, Ordering::Relaxed) < read {
            return Err(ConnectorError::new(ErrorKind::Unavailable, "the power is out"));
        }
        Ok(next)
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        self.reader.position()
    }
}

/// Counts the events of a key, with a time to live of `TTL_MS`, and the events of each value. A timer emits a result
/// when the key had no event for `GAP_MS`.
struct Habits {
    recent: ValueState<u8, u32>,
    values: MapState<u8, i32, u32>,
    last: ValueState<u8, i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Habit {
    Seen { id: u64, recent: u32, same_value: u32 },
    Silent { key: u8, since: i64 },
}

impl KeyedLogic for Habits {
    type Key = u8;
    type In = Event;
    type Out = Habit;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Habit, ()>, record: Record<Event>) -> Result<(), LogicError> {
        let Event { ts, id, value, .. } = record.data;
        let recent = self.recent.get(ctx)?.unwrap_or(0) + 1;
        self.recent.put(ctx, recent)?;
        let same_value = self.values.update(ctx, BTreeMap::new, |values| {
            let count = values.entry(value).or_insert(0);
            *count += 1;
            *count
        })?;
        if let Some(last) = self.last.get(ctx)? {
            ctx.cancel_timer(EventTime(last + GAP_MS));
        }
        self.last.put(ctx, ts)?;
        ctx.set_timer(EventTime(ts + GAP_MS));
        ctx.emit(Habit::Seen { id, recent, same_value });
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Habit, ()>, at: EventTime) -> Result<(), LogicError> {
        let since = self.last.remove(ctx)?.expect("a timer is set along with it");
        assert_eq!(since + GAP_MS, at.0);
        let key = *ctx.key();
        ctx.emit(Habit::Silent { key, since });
        Ok(())
    }

    fn tie_break(event: &Event) -> u64 {
        event.id
    }
}

struct Sums(Rolling<u8>);

impl KeyedLogic for Sums {
    type Key = u8;
    type In = Event;
    type Out = (u64, Vec<(u64, f64)>);
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, record: Record<Event>) -> Result<(), LogicError> {
        let read = |rolled: Rolled<'_>| rolled.windows.iter().map(|total| (total.count, total.sum())).collect();
        let sums = self.0.add(ctx, f64::from(record.data.value), read)?;
        ctx.emit((record.data.id, sums));
        Ok(())
    }

    fn tie_break(event: &Event) -> u64 {
        event.id
    }
}

/// An aggregate of count, sum, minimum and maximum, all of which can be compared exactly.
struct Numbers;

type Four = (u64, i64, i32, i32);

impl Aggregate for Numbers {
    type In = Event;
    type Accumulator = Four;
    type Out = Four;

    fn empty(&self) -> Four {
        (0, 0, i32::MAX, i32::MIN)
    }
    fn add(&self, four: &mut Four, event: &Event) {
        self.merge(four, &(1, event.value.into(), event.value, event.value));
    }
    fn merge(&self, into: &mut Four, other: &Four) {
        *into = (into.0 + other.0, into.1 + other.1, into.2.min(other.2), into.3.max(other.3));
    }
    fn finish(&self, four: &Four) -> Four {
        *four
    }
}

const OUTPUTS: [&str; 5] = ["habits", "sums", "tumbling", "sliding", "sessions"];

fn build(flow: &Flow<'_>, source: &impl Source<Item = Event>, to: &Path) -> Result<(), JobError> {
    let events = flow.source("events", source)?;
    let keyed = || events.clone().key_by(|event| event.key);
    let file = |name: &str| to.join(name);
    let ttl = Ttl { after: millis(TTL_MS as u64), clock: TtlClock::EventTime };
    keyed()
        .process("habits", Order::EventTime, |states| {
            let recent = states.value_with_ttl("recent", ttl)?;
            Ok(Habits { recent, values: states.map("values")?, last: states.value("last")? })
        })?
        .results
        .sink("habits-out", &FileSink::json_lines(file("habits")))?;
    keyed()
        .process("sums", Order::EventTime, |states| Ok(Sums(Rolling::open(states, "sums", &ROLLING_MS.map(ms))?)))?
        .results
        .sink("sums-out", &FileSink::json_lines(file("sums")))?;
    for (name, assigner) in [
        ("tumbling", Assigner::tumbling(ms(TUMBLING_MS))),
        ("sliding", Assigner::sliding(ms(SLIDING_MS.0), ms(SLIDING_MS.1))),
        ("sessions", Assigner::session(ms(GAP_MS))),
    ] {
        let windows = keyed().window(name, assigner).aggregate(Numbers)?;
        windows.results.sink(&format!("{name}-out"), &FileSink::json_lines(file(name)))?;
        windows
            .late
            .inspect(|late| panic!("{late:?} is within the bound"))
            .sink(&format!("{name}-late"), &NullSink::default())?;
    }
    Ok(())
}

/// Computes all outputs with a plain loop over all events.
fn oracle(events: &[Event]) -> BTreeMap<&'static str, Vec<String>> {
    let mut sorted = events.to_vec();
    sorted.sort();
    let mut by_key: BTreeMap<u8, Vec<Event>> = BTreeMap::new();
    sorted.iter().for_each(|event| by_key.entry(event.key).or_default().push(*event));
    let mut out: BTreeMap<&'static str, Vec<String>> = OUTPUTS.iter().map(|name| (*name, Vec::new())).collect();
    let mut line = |name: &'static str, value: serde_json::Value| out.get_mut(name).unwrap().push(value.to_string());
    let json = |value: &dyn Fn() -> serde_json::Value| value();
    let four = |events: &mut dyn Iterator<Item = &Event>| {
        events.fold(Numbers.empty(), |mut four, event| {
            Numbers.add(&mut four, event);
            four
        })
    };
    for (key, events) in &by_key {
        let mut recent = 0;
        for (at, event) in events.iter().enumerate() {
            let before = &events[..at];
            recent = if before.last().is_some_and(|last| event.ts < last.ts + TTL_MS) { recent + 1 } else { 1 };
            let same_value = before.iter().filter(|other| other.value == event.value).count() as u32 + 1;
            line("habits", serde_json::to_value(Habit::Seen { id: event.id, recent, same_value }).unwrap());
            if events.get(at + 1).is_none_or(|next| next.ts >= event.ts + GAP_MS) {
                line("habits", serde_json::to_value(Habit::Silent { key: *key, since: event.ts }).unwrap());
            }
            let sums: Vec<(u64, f64)> = ROLLING_MS
                .iter()
                .map(|length| {
                    let inside = events[..=at].iter().filter(|other| other.ts > event.ts - length);
                    inside.fold((0, 0.0), |(count, sum), other| (count + 1, sum + f64::from(other.value)))
                })
                .collect();
            line("sums", serde_json::to_value((event.id, sums)).unwrap());
        }
        let mut window = |name: &'static str, start: i64, end: i64, value: Four| {
            let window = Window { start: EventTime(start), end: EventTime(end) };
            line(
                name,
                json(&|| serde_json::to_value(Windowed { key: *key, window, firing: Firing::OnTime, value }).unwrap()),
            );
        };
        for (name, size, slide) in [("tumbling", TUMBLING_MS, TUMBLING_MS), ("sliding", SLIDING_MS.0, SLIDING_MS.1)] {
            let starts: BTreeSet<i64> = events
                .iter()
                .flat_map(|event| {
                    let last = event.ts.div_euclid(slide) * slide;
                    (0..).map(move |n| last - n * slide).take_while(move |start| event.ts < start + size)
                })
                .collect();
            for start in starts {
                let inside = events.iter().filter(|event| event.ts >= start && event.ts < start + size);
                window(name, start, start + size, four(&mut inside.into_iter()));
            }
        }
        for session in events.chunk_by(|one, next| next.ts < one.ts + GAP_MS) {
            let (first, last) = (session[0].ts, session[session.len() - 1].ts);
            window("sessions", first, last + GAP_MS, four(&mut session.iter()));
        }
    }
    out.values_mut().for_each(|lines| lines.sort_unstable());
    out
}

#[derive(Clone, Debug)]
struct Run {
    workers: usize,
    state_memory: Option<u64>,
    /// Number of records after which the source fails.
    records: i64,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (1..4usize, prop::option::of(1_000..30_000u64), 200..2500i64);
    let run = run.prop_map(|(workers, state_memory, records)| Run { workers, state_memory, records });
    prop::collection::vec(run, 0..6)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0..6i64, 0..BOUND_MS, prop_oneof![3 => 0..4u8, 1 => 0..200u8], -2..4i32);
    prop::collection::vec(event, 300..3000).prop_map(|events| {
        let mut now = 1_000_000;
        let mut placed: Vec<(i64, Event)> = (0..)
            .zip(events)
            .map(|(id, (step, early, key, value))| {
                now += if id % 97 == 0 { 10 * step } else { step / 3 };
                (now + early, Event { ts: now, id, key, value })
            })
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, event)| event).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operators_equal_a_plain_loop_whatever_breaks(events in events(), runs in runs()) {
        let folder = tempfile::tempdir().unwrap();
        let last = Run { workers: 2, state_memory: None, records: i64::MAX };
        let (mut broke, last_run) = (0, runs.len());
        for (number, run) in runs.iter().chain([&last]).enumerate() {
            let all = events.clone();
            // The source is slow enough for some epochs to end during the run.
            let generator = Generator::new(all.len() as u64, move |n| (EventTime(all[n as usize].ts), all[n as usize]))
                .max_out_of_orderness(Duration::from_millis(BOUND_MS as u64))
                .rate(40_000.0);
            let source = Breaking { source: generator, records: Arc::new(AtomicI64::new(run.records)) };
            let args = JobArgs { settings: JobSettings { workers: run.workers, state_memory: run.state_memory, checkpoint_dir: Some(folder.path().join("checkpoints")), checkpoint_interval: Duration::from_millis(20), ..JobSettings::default() }, log_level: "error".to_owned(), ..JobArgs::default() };
            let to = folder.path().to_owned();
            let result = Job::new("oracle", args).run(move |flow| build(flow, &source, &to));
            if let Err(error) = result {
                let report = error.report();
                prop_assert!(number < last_run && report.contains("the power is out"), "{report}");
                broke += 1;
            }
        }
        println!("{} events, {broke} of {} runs broke down", events.len(), runs.len());
        for (name, expected) in oracle(&events) {
            let found: Vec<String> = lines(&folder.path().join(name))
                .iter()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().to_string())
                .collect();
            let mut found = found;
            found.sort_unstable();
            prop_assert_eq!(found.len(), expected.len(), "lines of {}", name);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found, expected, "in {}", name);
            }
        }
    }
}
