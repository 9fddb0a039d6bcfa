//! What comes late, and what waits for the wall clock: a scripted source says when the watermark moves.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tidemill::engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill::engine::{ConnectorError, DeadLetter};
use tidemill::prelude::*;

/// Event times of records of key 0, then the watermark after them.
type Script = Vec<(Vec<i64>, i64)>;

struct Scripted(Script);

struct ScriptedReader(std::vec::IntoIter<(Vec<i64>, i64)>);

impl Source for Scripted {
    type Item = i64;
    type Reader = ScriptedReader;

    fn open(&self, _: SourceContext) -> Result<ScriptedReader, ConnectorError> {
        Ok(ScriptedReader(self.0.clone().into_iter()))
    }
}

impl SourceReader for ScriptedReader {
    type Item = i64;

    fn read(&mut self, batch: &mut Batch<i64>) -> Result<Next, ConnectorError> {
        let Some((times, watermark)) = self.0.next() else { return Ok(Next::Done) };
        times.into_iter().for_each(|ts| batch.push(EventTime(ts), ts));
        batch.advance_watermark(EventTime(watermark));
        // Until then the watermark has reached the operators.
        Ok(Next::After(Duration::from_millis(10)))
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        Ok(Vec::new())
    }
}

struct Count;

impl Aggregate for Count {
    type In = i64;
    type Accumulator = u64;
    type Out = u64;

    fn empty(&self) -> u64 {
        0
    }
    fn add(&self, count: &mut u64, _: &i64) {
        *count += 1;
    }
    fn merge(&self, into: &mut u64, other: &u64) {
        *into += other;
    }
    fn finish(&self, count: &u64) -> u64 {
        *count
    }
}

fn args() -> JobArgs {
    JobArgs { log_level: "error".to_owned(), ..JobArgs::default() }
}

/// Windows' (start, end, count) in the order they came, and the late records.
fn windows(script: &[(&[i64], i64)], assigner: Assigner, lateness: i64) -> (Vec<(i64, i64, u64)>, Vec<i64>) {
    let script = Scripted(script.iter().map(|(times, watermark)| (times.to_vec(), *watermark)).collect());
    let (results, late) = (CollectSink::default(), CollectSink::default());
    let (to_results, to_late) = (results.clone(), late.clone());
    Job::new("late", args())
        .run(move |flow| {
            let windows = flow
                .source("script", &script)?
                .key_by(|_| 0_u8)
                .window("windows", assigner)
                .allowed_lateness_ms(lateness)
                .aggregate(Count)?;
            windows.late.sink("late", &to_late)?;
            windows.results.sink("results", &to_results)
        })
        .unwrap();
    let results = results.data().into_iter().map(|w: Windowed<u8, u64>| (w.window.start.0, w.window.end.0, w.value));
    (results.collect(), late.data())
}

#[test]
fn a_late_record_goes_to_the_side() {
    let script: [(&[i64], i64); 3] = [(&[1, 5, 12], 10), (&[7, 15], 20), (&[19, 21], 20)];
    assert_eq!(windows(&script, Assigner::tumbling(10), 0), (vec![(0, 10, 2), (10, 20, 2), (20, 30, 1)], vec![7, 19]));
}

#[test]
fn a_late_record_within_the_allowed_lateness_gives_a_new_result() {
    let script: [(&[i64], i64); 4] = [(&[1, 5, 12], 10), (&[7], 14), (&[8], 15), (&[9], 30)];
    let expected = vec![(0, 10, 2), (0, 10, 3), (0, 10, 4), (10, 20, 1)];
    assert_eq!(windows(&script, Assigner::tumbling(10), 5), (expected, vec![9]));
}

#[test]
fn a_late_record_counts_in_those_sliding_windows_that_are_open() {
    // 14 belongs to [0, 20) and [10, 30); the first is over.
    let script: [(&[i64], i64); 3] = [(&[5, 15], 20), (&[14], 21), (&[], 40)];
    let expected = vec![(-10, 10, 1), (0, 20, 2), (10, 30, 2)];
    assert_eq!(windows(&script, Assigner::sliding(20, 10), 0), (expected, vec![]));
}

#[test]
fn a_late_record_joins_an_open_session_and_bridges_two() {
    // 20's session [20, 30) is open at 25; 12 reaches [12, 22) and touches it. 1 touches nothing.
    let script: [(&[i64], i64); 3] = [(&[20], 25), (&[12, 1], 26), (&[38], 50)];
    assert_eq!(windows(&script, Assigner::session(10), 0), (vec![(12, 30, 2), (38, 48, 1)], vec![1]));
    // With lateness a fired session is merged with what comes late, and told again.
    let script: [(&[i64], i64); 3] = [(&[0, 15], 12), (&[8], 14), (&[], 100)];
    assert_eq!(windows(&script, Assigner::session(10), 20).0, vec![(0, 10, 1), (0, 25, 3)]);
}

/// Sets a timer for each record and tells what fires when.
struct Alarm {
    wall_clock: bool,
}

impl KeyedLogic for Alarm {
    type Key = u8;
    type In = i64;
    type Out = (String, i64);
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, record: Record<i64>) -> Result<(), LogicError> {
        if record.data < 0 {
            return Err(LogicError::record(format!("{} is negative", record.data)));
        }
        ctx.emit((if ctx.is_late() { "late" } else { "record" }.to_owned(), record.data));
        if self.wall_clock {
            ctx.set_processing_timer(ctx.processing_time_ms() + record.data);
            ctx.set_processing_timer(ctx.processing_time_ms() + 1);
            assert!(ctx.cancel_processing_timer(ctx.processing_time_ms() + 1));
        } else {
            ctx.set_timer(EventTime(record.data + 2));
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, at: EventTime) -> Result<(), LogicError> {
        ctx.emit(("timer".to_owned(), at.0));
        Ok(())
    }

    fn on_processing_timer(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, at: i64) -> Result<(), LogicError> {
        ctx.emit(("alarm".to_owned(), at));
        Ok(())
    }
}

fn alarms<S: Source<Item = i64>>(source: S, wall_clock: bool, clock: Clock) -> (Vec<(String, i64)>, Vec<DeadLetter>) {
    let (results, letters) = (CollectSink::default(), CollectSink::default());
    let (to_results, to_letters) = (results.clone(), letters.clone());
    let job = Job::new("alarms", args()).clock(clock);
    job.run(move |flow| {
        flow.source("script", &source)?
            .key_by(|_| 0_u8)
            .process("alarm", Order::EventTime, |_| Ok(Alarm { wall_clock }))?
            .main
            .sink("results", &to_results)?;
        flow.dead_letters().sink("letters", &to_letters)
    })
    .unwrap();
    (results.data(), letters.data())
}

#[test]
fn timers_and_records_come_in_event_time_order_and_late_ones_at_once() {
    let script = Scripted(vec![(vec![5, 1, 2, 3], 4), (vec![-7, 2], 4), (vec![9], 20)]);
    let (found, letters) = alarms(script, false, Clock::system());
    let found: Vec<(&str, i64)> = found.iter().map(|(what, at)| (&**what, *at)).collect();
    let first = [("record", 1), ("record", 2), ("timer", 3), ("record", 3), ("timer", 4)];
    assert_eq!(found[..5], first);
    // 2 is late and sets a timer for 4, which the watermark has passed.
    assert_eq!(
        found[5..],
        [("late", 2), ("timer", 4), ("timer", 5), ("record", 5), ("timer", 7), ("record", 9), ("timer", 11)]
    );
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("-7 is negative"), "{letters:?}");
}

#[test]
fn processing_time_timers_fire_by_the_wall_clock_while_the_job_runs() {
    let mut script = vec![(vec![25, 75], 1000)];
    script.extend((0..40).map(|_| (vec![], 1000)));
    let (found, _) = alarms(Scripted(script), true, Clock::system());
    let alarms: Vec<i64> = found.iter().filter(|(what, _)| what == "alarm").map(|(_, at)| *at).collect();
    assert_eq!(alarms.len(), 2, "{found:?}");
    assert_eq!(alarms[1] - alarms[0], 50, "both were set at the same moment: {found:?}");
}
