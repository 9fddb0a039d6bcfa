//! Pieces of keyed operators, in the shell that a test drives by hand ([`LogicTest`]). Taking a record in, and copying it
//! for a repetition after a crash, are part of what is measured. No epoch is sealed: that is the piece `delta`. So inputs
//! and results are kept, half a megabyte a round.

use tidemill::prelude::*;
use tidemill::testing::LogicTest;
use tidemill::window::{WindowLogic, WindowSpec};

use crate::{BATCH, Failure, Numbers, RECORDS, Round};

const KEYS: u64 = 400;
/// Event time of a round, in ms.
const ROUND: i64 = 10_000;

/// Key, time and value.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Event {
    key: u64,
    ts: i64,
    value: f64,
}

fn events() -> Vec<Event> {
    let mut numbers = Numbers(2);
    let time = |index| index as i64 * ROUND / RECORDS as i64;
    (0..RECORDS)
        .map(|index| Event { key: numbers.next(KEYS), ts: time(index), value: numbers.next(1_000) as f64 / 8.0 })
        .collect()
}

/// Returns rounds that push all events into the logic and let the watermark pass them.
fn rounds<L: KeyedLogic<Key = u64, In = Event> + 'static>(mut test: LogicTest<L>) -> Round {
    let (events, mut start) = (events(), 0);
    Box::new(move || {
        for batch in events.chunks(BATCH) {
            test.push_all(batch.iter().map(|event| (EventTime(start + event.ts), *event)));
        }
        start += ROUND;
        test.watermark(start);
        Ok(())
    })
}

/// Adds records to tumbling windows of 10 s, which are emitted at the end of the round.
pub fn windows() -> Result<Round, Failure> {
    let open = |states: &mut States<'_, u64>| {
        let spec = WindowSpec::new(Assigner::tumbling(millis(ROUND as u64)));
        WindowLogic::open(states, spec, stats_of(|event: &Event| event.value))
    };
    Ok(rounds(LogicTest::new(Order::Arrival, |event: &Event| event.key, open)))
}

/// Counts and adds up values in the last five seconds and the last minute of a key.
struct Velocity(Rolling<u64>);

impl KeyedLogic for Velocity {
    type Key = u64;
    type In = Event;
    type Out = f64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, f64, ()>, record: Record<Event>) -> Result<(), LogicError> {
        let mean = self.0.add(ctx, record.data.value, |rolled| rolled.windows[0].mean() - rolled.windows[1].mean())?;
        ctx.emit(mean);
        Ok(())
    }
}

/// Adds records to rolling windows.
pub fn rolling() -> Result<Round, Failure> {
    let open = |states: &mut States<'_, u64>| Ok(Velocity(Rolling::open(states, "values", &[secs(5), minutes(1)])?));
    Ok(rounds(LogicTest::new(Order::Arrival, |event: &Event| event.key, open)))
}
