//! Two sources that are united, the split of a stream into two, and custom logic that has both as its inputs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::{TestSink, TestSource};

use super::{Script, grouped, scripts, world};
use testkit::script::{Event, cases, sorted};

/// A result of a key, with the number of results that the key had before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Emitted {
    key: u8,
    before: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum What {
    /// An answer, and the questions that waited for one.
    Answer(u32, Vec<u32>),
    /// The questions that were not answered in time.
    Silence(Vec<u32>),
}

/// Collects the questions of a key until an answer arrives, or until each has waited for `patience_ms`.
struct Answers {
    patience_ms: i64,
    waiting: ValueState<u8, Vec<Event>>,
    emitted: ValueState<u8, u32>,
}

impl Answers {
    fn open(states: &mut States<'_, u8>, patience_ms: i64) -> Result<Self, JobError> {
        Ok(Self { patience_ms, waiting: states.value("waiting")?, emitted: states.value("emitted")? })
    }

    fn due(&self, question: &Event) -> EventTime {
        EventTime(question.time).plus_ms(self.patience_ms)
    }

    fn emit(&self, ctx: &mut Context<'_, u8, Emitted, Event>, what: What) -> Result<(), LogicError> {
        let before = self.emitted.update(ctx, || 0, |emitted| std::mem::replace(emitted, *emitted + 1))?;
        ctx.emit(Emitted { key: *ctx.key(), before, what });
        Ok(())
    }
}

impl KeyedLogic for Answers {
    type Key = u8;
    type In = Either<Event, Event>;
    type Out = Emitted;
    type Side = Event;

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u8, Emitted, Event>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        match record.data {
            Either::First(late) | Either::Second(late) if ctx.is_late() => ctx.side(late),
            Either::First(question) => {
                self.waiting.update(ctx, Vec::new, |waiting| waiting.push(question))?;
                ctx.set_timer(self.due(&question));
            }
            Either::Second(answer) => {
                let waiting = self.waiting.remove(ctx)?.unwrap_or_default();
                waiting.iter().for_each(|question| _ = ctx.cancel_timer(self.due(question)));
                self.emit(ctx, What::Answer(answer.id, ids(&waiting)))?;
            }
        }
        Ok(())
    }

    /// Emits a result even if no question is due, so that a cancelled timer that fires anyway shows.
    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Emitted, Event>, at: EventTime) -> Result<(), LogicError> {
        let waiting = self.waiting.remove(ctx)?.unwrap_or_default();
        let (over, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|question| self.due(question) <= at);
        if !left.is_empty() {
            self.waiting.put(ctx, left)?;
        }
        self.emit(ctx, What::Silence(ids(&over)))
    }

    fn tie_break(record: &Self::In) -> u64 {
        let (Either::First(event) | Either::Second(event)) = record;
        event.id.into()
    }
}

fn ids(events: &[Event]) -> Vec<u32> {
    events.iter().map(|event| event.id).collect()
}

fn is_question(event: &Event) -> bool {
    event.value < 2
}

/// Returns the expected results for the events of a key that are not late, each with its time.
fn naive(events: &[Event], patience_ms: i64) -> Vec<(i64, What)> {
    let (mut emitted, mut waiting) = (Vec::new(), Vec::<Event>::new());
    let due = |question: &Event| question.time.saturating_add(patience_ms);
    let silence = |waiting: &mut Vec<Event>, emitted: &mut Vec<_>, up_to: i64| {
        while let Some(at) = waiting.first().map(due).filter(|at| *at <= up_to) {
            let over: Vec<Event> = waiting.extract_if(.., |question| due(question) <= at).collect();
            emitted.push((at, What::Silence(ids(&over))));
        }
    };
    for event in events {
        // Records at the end of time arrive before the timers at that time fire.
        silence(&mut waiting, &mut emitted, event.time.min(i64::MAX - 1));
        match is_question(event) {
            true => waiting.push(*event),
            false => emitted.push((event.time, What::Answer(event.id, ids(&std::mem::take(&mut waiting))))),
        }
    }
    silence(&mut waiting, &mut emitted, i64::MAX);
    emitted
}

/// The outputs of the program, one sink each.
#[derive(Clone)]
struct Sinks {
    emitted: TestSink<Emitted>,
    late: TestSink<Event>,
    questions: TestSink<Event>,
}

fn build(flow: &Flow<'_>, sources: &[TestSource<Event>], sinks: &Sinks, patience_ms: i64) -> Result<(), JobError> {
    let events = flow.source("one", &sources[0])?.union(flow.source("other", &sources[1])?);
    let (questions, answers) = events.split(is_question);
    questions.clone().sink("questions", &sinks.questions)?;
    let both = questions.key_by(|event| event.key).connect(answers.key_by(|event| event.key));
    let output = both.process("answers", Order::EventTime, |states| Answers::open(states, patience_ms))?;
    output.side.sink("late", &sinks.late)?;
    output.results.sink("emitted", &sinks.emitted)
}

/// Where events may be late, the schedule decides which ones are. The results of the other events, with their times and
/// their order, do not depend on it.
fn check(script: &Script, may_be_late: &BTreeSet<u32>, sinks: &Sinks, patience_ms: i64) -> Result<(), TestCaseError> {
    let all = script.all();
    let questions: Vec<Event> = all.iter().filter(|event| is_question(event)).copied().collect();
    prop_assert_eq!(sorted(sinks.questions.output()), questions);
    let late = sorted(sinks.late.output());
    let late_ids: BTreeSet<u32> = ids(&late).into_iter().collect();
    prop_assert_eq!(late_ids.len(), late.len(), "late twice: {:?}", late);
    prop_assert!(late_ids.is_subset(may_be_late), "on time: {:?}", late_ids.difference(may_be_late));
    let emitted = grouped(sinks.emitted.records(), |emitted| emitted.data.key);
    for (key, events) in grouped(all, |event| event.key) {
        let on_time: Vec<Event> = events.into_iter().filter(|event| !late_ids.contains(&event.id)).collect();
        let expected = (0..).zip(naive(&on_time, patience_ms));
        let expected = expected.map(|(before, (time, what))| (time, Emitted { key, before, what }));
        let found = emitted.get(&key).into_iter().flatten();
        let found: Vec<(i64, Emitted)> = found.map(|record| (record.event_time.0, record.data.clone())).collect();
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..cases(200) })]

    #[test]
    fn a_function_of_two_inputs_emits_what_a_loop_emits(
        script in scripts(),
        patience_ms in 1..60_i64,
        seed: u64,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut sim = world(seed, state_memory);
        let sources = [sim.source(), sim.source()];
        let sinks = Sinks { emitted: sim.sink(), late: sim.sink(), questions: sim.sink() };
        let may_be_late = script.feed(&sources);
        let (from, to) = (sources, sinks.clone());
        sim.run(move |flow| build(flow, &from, &to, patience_ms));
        check(&script, &may_be_late, &sinks, patience_ms)?;
    }
}
