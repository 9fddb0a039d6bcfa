//! A model in the stream: windows of two machines' temperatures become features, a model scores them, and a warning
//! comes before the machine overheats.
//!
//! ```text
//! $ cargo xtask setup                         # once; fetches ONNX Runtime, among others
//! $ export ORT_DYLIB_PATH=$PWD/.cache/onnxruntime/libonnxruntime.so
//! $ cargo run --release --no-default-features --features onnx --example infer
//! 20 s to 30 s: pump   73.7 °C, risk  3 %
//! 30 s to 40 s: pump   82.9 °C, risk 38 %
//! 40 s to 50 s: pump   92.1 °C, risk 95 %  stop it
//! ```
//! `overheating.py` trains the model, a logistic regression of scikit-learn, and exports it to `overheating.onnx`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

/// A line of the file, whose header names the columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    second: i64,
    machine: String,
    celsius: f64,
}

features! {
    /// The columns of the model, in its order. A model that was trained on others is refused when it is loaded.
    struct Heat { mean, min, max }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TenSeconds {
    machine: String,
    window: Window,
    heat: Heat,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The probabilities are an output of two columns: that it does not overheat, and that it does.
    let model = Model::load::<Heat>(Path::new("examples/overheating.onnx"), "probabilities", 1)?;
    let readings = FileSource::new(["examples/readings.csv"], |reading: &Reading| EventTime(reading.second * 1_000));
    Job::new("overheating", JobSettings::default()).run(move |flow| {
        flow.source("readings", &readings)?
            .key_by(|reading| reading.machine.clone())
            .window("ten seconds", Assigner::tumbling(secs(10)))
            .aggregate(stats_of(|reading: &Reading| reading.celsius))?
            .results
            .map(|Windowed { key: machine, window, value: celsius, .. }| {
                let heat = Heat { mean: celsius.mean(), min: celsius.min(), max: celsius.max() };
                TenSeconds { machine, window, heat }
            })
            // Windows of all machines are scored together, in batches.
            .infer("risk", &model, &InferSettings::default(), |window: &TenSeconds| &window.heat)?
            .for_each("print", |record| {
                let Scored { record: TenSeconds { machine, window, heat }, score, .. } = &record.data;
                let (from, to) = (window.start.0 / 1_000, window.end.0 / 1_000);
                let advice = if *score > 0.9 { "  stop it" } else { "" };
                println!(
                    "{from:2} s to {to} s: {machine:5} {:5.1} °C, risk {:2.0} %{advice}",
                    heat.mean,
                    score * 100.0
                );
            })
    })?;
    Ok(())
}
