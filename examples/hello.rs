//! The smallest program: a file, a window, and lines on the screen. It reads `readings.csv`, two machines' temperature
//! second by second, and prints what each had on average in every ten seconds.
//!
//! ```text
//! $ cargo run --release --no-default-features --example hello
//!  0 s to 10 s: press 61.0 °C
//!  0 s to 10 s: pump 70.0 °C
//! 10 s to 20 s: press 60.9 °C
//! ```

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

/// A line of the file, whose header names the columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    second: i64,
    machine: String,
    celsius: f64,
}

fn main() -> Result<(), JobError> {
    // Windows go by the times of the readings, which are milliseconds, and not by the clock on the wall.
    let readings = FileSource::new(["examples/readings.csv"], |reading: &Reading| EventTime(reading.second * 1_000));
    Job::new("hello", JobSettings::default()).run(move |flow| {
        flow.source("readings", &readings)?
            .key_by(|reading| reading.machine.clone())
            .window("ten seconds", Assigner::tumbling(secs(10)))
            .aggregate(stats_of(|reading: &Reading| reading.celsius))?
            .results
            .for_each("print", |record| {
                let Windowed { key: machine, window, value, .. } = &record.data;
                let (from, to) = (window.start.0 / 1_000, window.end.0 / 1_000);
                println!("{from:2} s to {to} s: {machine} {:.1} °C", value.mean());
            })
    })?;
    Ok(())
}
