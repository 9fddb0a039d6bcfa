//! State that outlives the types with which it was written: three versions of one logic, compared with a loop in
//! memory that changes to the same versions at the same records. The state has values, maps, lists with a header,
//! values with a TTL, timers and pending records.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::{LogicTest, ProgramTest, TestSink, TestSource};

use crate::habits::{
    Answer, KEPT, Kept, Schema, TIMER, TIMER_MS, TTL, V1, V2, V3, count_2, count_3, element_2, element_3, entry_2,
    entry_3, header_2, header_3, place_of, recent_2,
};
use testkit::script::{Event, Step, cases, play, play_part, steps};

/// The state of a key in the oracle.
struct Known<S: Schema> {
    count: S::Count,
    entries: BTreeMap<u8, S::Entry>,
    list: Vec<S::Element>,
    header: S::Header,
    /// The value with a TTL, and the time at which it expires.
    recent: Option<(S::Recent, i64)>,
}

impl<S: Schema> Clone for Known<S> {
    fn clone(&self) -> Self {
        let Self { count, entries, list, header, recent } = self;
        let (count, entries, list) = (count.clone(), entries.clone(), list.clone());
        Self { count, entries, list, header: header.clone(), recent: recent.clone() }
    }
}

/// The oracle: a plain loop in memory that computes the expected answers.
struct Model<S: Schema> {
    order: Order,
    keys: BTreeMap<u8, Known<S>>,
    pending: Vec<Event>,
    timers: BTreeSet<(i64, u8)>,
    watermark: i64,
    answers: Vec<Answer>,
}

impl<S: Schema> Clone for Model<S> {
    fn clone(&self) -> Self {
        let Self { order, keys, pending, timers, watermark, answers } = self;
        let (keys, pending, timers) = (keys.clone(), pending.clone(), timers.clone());
        Self { order: *order, keys, pending, timers, watermark: *watermark, answers: answers.clone() }
    }
}

impl<S: Schema> Model<S> {
    fn new(order: Order) -> Self {
        let (keys, pending, timers) = (BTreeMap::new(), vec![], BTreeSet::new());
        Self { order, keys, pending, timers, watermark: i64::MIN, answers: vec![] }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Event(event) => {
                let late = self.is_late(&event);
                if self.order == Order::EventTime && !late { self.pending.push(event) } else { self.apply(&event) }
            }
            Step::Watermark(watermark) if watermark > self.watermark => {
                let is_due = |event: &mut Event| event.time < watermark || watermark == i64::MAX;
                let mut due: Vec<Event> = self.pending.extract_if(.., is_due).collect();
                due.sort_by_key(|event| (event.time, event.id));
                for event in due {
                    self.fire(event.time.min(i64::MAX - 1));
                    self.apply(&event);
                }
                self.watermark = watermark;
            }
            _ => {}
        }
        self.fire(self.watermark);
    }

    fn is_late(&self, event: &Event) -> bool {
        event.time < self.watermark || self.watermark == i64::MAX
    }

    fn fire(&mut self, up_to: i64) {
        while let Some((at, key)) = self.timers.first().copied().filter(|(at, _)| *at <= up_to) {
            self.timers.remove(&(at, key));
            let values = self.keys.get(&key).map_or(vec![], |known| known.count.values());
            self.answers.push(Answer { key, id: TIMER, values });
        }
    }

    fn apply(&mut self, event: &Event) {
        let late = self.is_late(event);
        let known = self.keys.entry(event.key).or_insert_with(|| Known {
            count: S::Count::first(),
            entries: BTreeMap::new(),
            list: vec![],
            header: S::Header::default(),
            recent: None,
        });
        known.count.see(event);
        let mut values = known.count.values();
        let entry = known.entries.entry(place_of(event)).or_insert_with(S::Entry::first);
        entry.see(event);
        values.extend(entry.values());
        known.header.see(event);
        let mut element = S::Element::first();
        element.see(event);
        known.list.push(element);
        known.list.drain(..known.list.len().saturating_sub(KEPT));
        values.extend(known.header.values());
        values.extend(known.list.iter().flat_map(Kept::values));
        if !late {
            let now = event.time.min(i64::MAX - 1);
            let living = known.recent.as_ref().filter(|(_, expires)| *expires > now);
            values.extend(living.map(|(recent, _)| recent.values()).unwrap_or_default());
            let mut recent = S::Recent::first();
            recent.see(event);
            known.recent = Some((recent, now.saturating_add(TTL.after.as_millis() as i64)));
        }
        self.timers.insert((event.time.saturating_add(TIMER_MS), event.key));
        self.answers.push(Answer { key: event.key, id: event.id, values });
    }

    fn into<T: Schema>(self, upgrade: impl Fn(Known<S>) -> Known<T>) -> Model<T> {
        let Self { order, keys, pending, timers, watermark, answers } = self;
        let keys = keys.into_iter().map(|(key, known)| (key, upgrade(known))).collect();
        Model { order, keys, pending, timers, watermark, answers }
    }
}

fn known_2(old: Known<V1>) -> Known<V2> {
    Known {
        count: count_2(old.count),
        entries: old.entries.into_iter().map(|(place, entry)| (place, entry_2(entry))).collect(),
        list: old.list.into_iter().map(element_2).collect(),
        header: header_2(),
        recent: old.recent,
    }
}

fn known_3(old: Known<V2>) -> Known<V3> {
    Known {
        count: count_3(old.count),
        entries: old.entries.into_iter().map(|(place, entry)| (place, entry_3(entry))).collect(),
        list: old.list.into_iter().map(element_3).collect(),
        header: header_3(old.header),
        recent: old.recent.map(|(recent, expires)| (recent_2(recent), expires)),
    }
}

/// The oracle as of the last checkpoint, and the steps since then, which an upgrade replays.
struct Replay<S: Schema> {
    now: Model<S>,
    checkpoint: Model<S>,
    since: Vec<Step>,
}

impl<S: Schema> Replay<S> {
    fn new(order: Order) -> Self {
        Self { now: Model::new(order), checkpoint: Model::new(order), since: vec![] }
    }

    fn play(&mut self, steps: &[Step]) {
        for step in steps {
            self.now.step(step);
            self.since.push(*step);
            if matches!(step, Step::Checkpoint) {
                self.checkpoint = self.now.clone();
                self.since.clear();
            }
        }
    }

    fn upgrade<T: Schema>(self, upgrade: impl Fn(Known<S>) -> Known<T>) -> Replay<T> {
        let checkpoint = self.checkpoint.into(upgrade);
        let mut replay = Replay { now: checkpoint.clone(), checkpoint, since: vec![] };
        // The steps contain no checkpoint.
        replay.play(&self.since);
        replay
    }
}

/// Groups the answers by key, because the order of different keys is not guaranteed.
fn by_key(answers: Vec<Answer>) -> BTreeMap<u8, Vec<Answer>> {
    let mut by_key: BTreeMap<u8, Vec<Answer>> = BTreeMap::new();
    answers.into_iter().for_each(|answer| by_key.entry(answer.key).or_default().push(answer));
    by_key
}

/// Replaces each key of a script by several keys.
fn spread(steps: Vec<Step>, by: u32) -> Vec<Step> {
    let deal = |event: Event| Event { key: event.key + 3 * (event.id % by) as u8, ..event };
    steps.into_iter().map(|step| if let Step::Event(event) = step { Step::Event(deal(event)) } else { step }).collect()
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn logic_that_changes_its_types_goes_on_where_the_old_one_was(
        steps in steps(),
        by in prop::sample::select(&[1_u32, 13][..]),
        cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        workers in (1..5_usize, 1..5_usize, 1..5_usize),
        state_memory in prop::option::of(500..20_000_u64),
        order in prop::sample::select(&[Order::EventTime, Order::Arrival][..]),
    ) {
        let steps = spread(steps, by);
        let cut = (cut.0.index(steps.len()), cut.1.index(steps.len()));
        let (first, second) = (cut.0.min(cut.1), cut.0.max(cut.1));
        let (one, two, three) = (&steps[..first], &steps[first..second], &steps[second..]);
        let end = [Step::Watermark(i64::MAX)];

        let mut test = LogicTest::new(order, |event: &Event| event.key, V1::open);
        test.state_memory(state_memory);
        test.crash(workers.0);
        play_part(&mut test, one, |event| event);
        // Sometimes the second version is skipped.
        let mut test = if first == second {
            test.upgrade(workers.2, V3::open).unwrap()
        } else {
            let mut test = test.upgrade(workers.1, V2::open).unwrap();
            play_part(&mut test, two, |event| event);
            test.upgrade(workers.2, V3::open).unwrap()
        };
        play(&mut test, three, |event| event);

        let mut expected = Replay::<V1>::new(order);
        expected.play(one);
        let mut expected = expected.upgrade(known_2);
        expected.play(two);
        let mut expected = expected.upgrade(known_3);
        expected.play(three);
        expected.play(&end);
        prop_assert_eq!(by_key(test.output()), by_key(expected.now.answers));
    }
}

/// Generates records of which none is late, watermarks, crashes, and completed checkpoints.
fn engine_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0..60_i64, 0..3_u8, -3..4_i32).prop_map(|(ahead, key, value)| (0, ahead, key, value)),
        2 => (0..40_i64).prop_map(|on| (1, on, 0, 0)),
        1 => Just((3, 0, 0, 0)),
        1 => (1..5_i64).prop_map(|workers| (4, workers, 0, 0)),
    ];
    prop::collection::vec(step, 20..150).prop_map(|steps| {
        let mut watermark = 0;
        let steps = (0..).zip(steps).map(|(id, (what, number, key, value))| match what {
            0 => Step::Event(Event { time: watermark + number, id, key, value }),
            1 => {
                watermark += number;
                Step::Watermark(watermark)
            }
            3 => Step::Checkpoint,
            _ => Step::Crash(number as usize),
        });
        steps.collect()
    })
}

/// Returns a program with the logic of one version.
fn program<S: Schema>(
    source: &TestSource<Event>,
    sink: &TestSink<Answer>,
) -> impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static {
    let (source, sink) = (source.clone(), sink.clone());
    move |flow| {
        let events = flow.source("events", &source)?.key_by(|event| event.key);
        events.process("habits", Order::EventTime, S::open)?.results.sink("answers", &sink)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, ..cases(6) })]

    #[test]
    fn a_program_that_changes_its_types_goes_on_where_the_old_one_was(
        steps in engine_steps(),
        cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        workers in (1..5_usize, 1..5_usize, 1..5_usize),
        state_memory in prop::option::of(2_000..40_000_u64),
    ) {
        let steps = spread(steps, 13);
        let cut = (cut.0.index(steps.len()), cut.1.index(steps.len()));
        let (first, second) = (cut.0.min(cut.1), cut.0.max(cut.1));
        let mut test = ProgramTest::new();
        test.state_memory(state_memory);
        let (source, sink) = (test.source::<Event>(), test.sink::<Answer>());
        let play = |test: &mut ProgramTest, steps: &[Step]| {
            for step in steps {
                match *step {
                    Step::Event(event) => source.push(event.time, event),
                    Step::Watermark(watermark) => source.watermark(watermark),
                    Step::Checkpoint | Step::Clock(_) => test.settle(),
                    Step::Crash(workers) => test.crash(workers),
                }
            }
            // The next version starts from a checkpoint with everything that this one has processed.
            test.settle();
        };
        test.start(workers.0, program::<V1>(&source, &sink));
        play(&mut test, &steps[..first]);
        test.upgrade(workers.1, program::<V2>(&source, &sink));
        play(&mut test, &steps[first..second]);
        test.upgrade(workers.2, program::<V3>(&source, &sink));
        play(&mut test, &steps[second..]);
        test.finish();

        let with_checkpoint = |steps: &[Step]| steps.iter().copied().chain([Step::Checkpoint]).collect::<Vec<Step>>();
        let mut expected = Replay::<V1>::new(Order::EventTime);
        expected.play(&with_checkpoint(&steps[..first]));
        let mut expected = expected.upgrade(known_2);
        expected.play(&with_checkpoint(&steps[first..second]));
        let mut expected = expected.upgrade(known_3);
        expected.play(&steps[second..]);
        expected.play(&[Step::Watermark(i64::MAX)]);
        prop_assert_eq!(by_key(sink.output()), by_key(expected.now.answers));
    }
}
