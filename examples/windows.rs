//! Four kinds of windows over one stream: the calls for taxis in a city, ten a second, from 6 to 9 o'clock.
//!
//! * an hour, fixed: calls per district, corrected when a call that was reported late belongs to it;
//! * the last 15 minutes, every 5 minutes: rushes at the airport;
//! * a session, as long as calls follow each other within two minutes: the ferries that arrive;
//! * a side output of calls that came when their hour was already closed for good.
//!
//! ```text
//! $ cargo run --release --no-default-features --example windows
//! 06:00 to 07:00  32400 calls from the centre
//! 07:05 to 07:07  a ferry: 360 calls from the harbour
//! 06:00 to 07:00  32401 calls from the centre, corrected
//! 07:40 to 07:55  a rush: 2700 calls from the airport
//! too late        a call of 06:20 from the centre
//! ```

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Call {
    from: String,
    time: EventTime,
}

/// Call `n`, a tenth of a second after the one before. Times of day are event times here, as on 1 January 1970.
fn call(n: u64) -> (EventTime, Call) {
    let from = match (n / 600, n % 10) {
        (65..68 | 120..123, 2 | 4) => "harbour", // ferries arrive at 7:05 and at 8:00
        (100..115, 0..3) | (_, 0) => "airport",  // a plane lands at 7:40
        _ => "centre",
    };
    // Two taxis report calls late: one at 7:15 and one at 8:30.
    let late = match n {
        45_005 => minutes(20),
        90_005 => minutes(130),
        _ => minutes(0),
    };
    let time = EventTime(0) + hours(6) + millis(n * 100) - late;
    (time, Call { from: from.to_owned(), time })
}

fn clock(time: EventTime) -> String {
    format!("{:02}:{:02}", time.0 / 3_600_000, time.0 / 60_000 % 60)
}

fn main() -> Result<(), JobError> {
    let calls = Generator::new(3 * 36_000, call);
    Job::new("taxis", JobSettings::default()).run(move |flow| {
        let calls = flow.source("calls", &calls)?;
        let by_district = || calls.clone().key_by(|call| call.from.clone());

        let hourly = by_district().window("hourly", Assigner::tumbling(hours(1))).allowed_lateness(minutes(30));
        let hourly = hourly.aggregate(counting())?;
        hourly.results.for_each("print hours", |record| {
            let Windowed { key: from, window, firing, value: calls } = &record.data;
            let corrected = if *firing == Firing::Late { ", corrected" } else { "" };
            println!("{} to {}  {calls} calls from the {from}{corrected}", clock(window.start), clock(window.end));
        })?;
        hourly.late.for_each("print late", |record| {
            println!("too late        a call of {} from the {}", clock(record.data.time), record.data.from);
        })?;

        let recent = by_district().window("recent", Assigner::sliding(minutes(15), minutes(5)));
        let rushes = recent.aggregate(counting())?.results.filter(|w| w.key == "airport" && w.value > 2_000);
        rushes.for_each("print rushes", |record| {
            let Windowed { window, value: calls, .. } = &record.data;
            println!("{} to {}  a rush: {calls} calls from the airport", clock(window.start), clock(window.end));
        })?;

        let sessions = by_district().window("sessions", Assigner::session(minutes(2))).aggregate(counting())?.results;
        sessions.filter(|session| session.key == "harbour").for_each("print ferries", |record| {
            let Windowed { window, value: calls, .. } = &record.data;
            let (first, last) = (clock(window.start), clock(window.end - minutes(2)));
            println!("{first} to {last}  a ferry: {calls} calls from the harbour");
        })
    })?;
    Ok(())
}
