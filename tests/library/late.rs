//! Late records, and records that are pending until the wall clock reaches their time.

use tidemill::prelude::*;
use tidemill::testing::{LogicTest, ProgramTest};

use testkit::script::ms;

/// Returns the windows (start, end, count) in the order in which they were emitted, and the late records. Each step of
/// the script has the event times of records of one key, and the watermark after them.
fn windows(script: &[(&[i64], i64)], assigner: Assigner, lateness: i64) -> (Vec<(i64, i64, u64)>, Vec<i64>) {
    let mut test = ProgramTest::new();
    let (source, results, late) = (test.source::<i64>(), test.sink(), test.sink());
    let (from, to_results, to_late) = (source.clone(), results.clone(), late.clone());
    test.start(1, move |flow| {
        let windows = flow
            .source("script", &from)?
            .key_by(|_| 0_u8)
            .window("windows", assigner)
            .allowed_lateness(ms(lateness))
            .aggregate(counting())?;
        windows.late.sink("late", &to_late)?;
        windows.results.sink("results", &to_results)
    });
    for (times, watermark) in script {
        times.iter().for_each(|time| source.push(*time, *time));
        source.watermark(*watermark);
    }
    test.finish();
    let results = results.output().into_iter().map(|w: Windowed<u8, u64>| (w.window.start.0, w.window.end.0, w.value));
    (results.collect(), late.output())
}

#[test]
fn a_late_record_goes_to_the_side() {
    let script: [(&[i64], i64); 3] = [(&[1, 5, 12], 10), (&[7, 15], 20), (&[19, 21], 20)];
    assert_eq!(
        windows(&script, Assigner::tumbling(millis(10)), 0),
        (vec![(0, 10, 2), (10, 20, 2), (20, 30, 1)], vec![7, 19])
    );
}

#[test]
fn a_late_record_within_the_allowed_lateness_gives_a_new_result() {
    let script: [(&[i64], i64); 4] = [(&[1, 5, 12], 10), (&[7], 14), (&[8], 15), (&[9], 30)];
    let expected = vec![(0, 10, 2), (0, 10, 3), (0, 10, 4), (10, 20, 1)];
    assert_eq!(windows(&script, Assigner::tumbling(millis(10)), 5), (expected, vec![9]));
}

#[test]
fn a_late_record_counts_in_those_sliding_windows_that_are_open() {
    // 14 belongs to [0, 20) and [10, 30); the first is over.
    let script: [(&[i64], i64); 3] = [(&[5, 15], 20), (&[14], 21), (&[], 40)];
    let expected = vec![(-10, 10, 1), (0, 20, 2), (10, 30, 2)];
    assert_eq!(windows(&script, Assigner::sliding(millis(20), millis(10)), 0), (expected, vec![]));
}

#[test]
fn a_late_record_joins_an_open_session_and_bridges_two() {
    // 20's session [20, 30) is open at 25; 12 reaches [12, 22) and touches it. 1 touches nothing.
    let script: [(&[i64], i64); 3] = [(&[20], 25), (&[12, 1], 26), (&[38], 50)];
    assert_eq!(windows(&script, Assigner::session(millis(10)), 0), (vec![(12, 30, 2), (38, 48, 1)], vec![1]));
    // With allowed lateness, a session that has fired is merged with late records and fires again.
    let script: [(&[i64], i64); 3] = [(&[0, 15], 12), (&[8], 14), (&[], 100)];
    assert_eq!(windows(&script, Assigner::session(millis(10)), 20).0, vec![(0, 10, 1), (0, 25, 3)]);
}

/// Sets a timer for each record, and emits each record and each timer that fires.
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
            ctx.set_processing_timer(ctx.processing_time() + millis(record.data as u64));
            ctx.set_processing_timer(ctx.processing_time() + millis(1));
            assert!(ctx.cancel_processing_timer(ctx.processing_time() + millis(1)));
        } else {
            ctx.set_timer(EventTime(record.data + 2));
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, at: EventTime) -> Result<(), LogicError> {
        ctx.emit(("timer".to_owned(), at.0));
        Ok(())
    }

    fn on_processing_timer(
        &mut self,
        ctx: &mut Context<'_, u8, Self::Out, ()>,
        at: ProcessingTime,
    ) -> Result<(), LogicError> {
        ctx.emit(("alarm".to_owned(), at.0));
        Ok(())
    }
}

#[test]
fn timers_and_records_come_in_event_time_order_and_late_ones_at_once() {
    let mut test = LogicTest::new(Order::EventTime, |_: &i64| 0_u8, |_| Ok(Alarm { wall_clock: false }));
    [5, 1, 2, 3].iter().for_each(|time| test.push(*time, *time));
    test.watermark(4);
    let found = test.output();
    let found: Vec<(&str, i64)> = found.iter().map(|(what, at)| (&**what, *at)).collect();
    assert_eq!(found, [("record", 1), ("record", 2), ("timer", 3), ("record", 3), ("timer", 4)]);
    // 2 is late and sets a timer for 4, which the watermark has passed.
    [-7, 2, 9].iter().for_each(|time| test.push(*time, *time));
    test.watermark(20);
    let found = test.output();
    let found: Vec<(&str, i64)> = found.iter().map(|(what, at)| (&**what, *at)).collect();
    assert_eq!(
        found,
        [("late", 2), ("timer", 4), ("timer", 5), ("record", 5), ("timer", 7), ("record", 9), ("timer", 11)]
    );
    let letters = test.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("-7 is negative"), "{letters:?}");
}

#[test]
fn processing_time_timers_fire_by_the_wall_clock_also_in_a_running_job() {
    let mut test = ProgramTest::new();
    let (source, out) = (test.source::<i64>(), test.sink());
    let (from, to) = (source.clone(), out.clone());
    test.start(1, move |flow| {
        let keyed = flow.source("script", &from)?.key_by(|_| 0_u8);
        keyed.process("alarm", Order::Arrival, |_| Ok(Alarm { wall_clock: true }))?.results.sink("out", &to)
    });
    source.push(0, 25);
    source.push(0, 75);
    assert_eq!(out.output().len(), 2);
    test.clock(ProcessingTime(74));
    test.crash(2);
    assert_eq!(out.output(), [("alarm".to_owned(), 25)]);
    test.clock(ProcessingTime(75));
    assert_eq!(out.output(), [("alarm".to_owned(), 75)]);
}
