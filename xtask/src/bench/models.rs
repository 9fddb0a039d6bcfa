//! What it costs a job that its models can change, that drift is looked for, and that labels judge the scores: runs with and
//! without take turns, and the ratios of neighbours are reported.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::{input, shown, turn};
use super::overhead::once;
use crate::{build_examples, cache, root};

const EXAMPLE: &str = "fraud_velocity";
const RECORDS: u64 = 1_500_000;

pub fn run(runs: usize, file: Option<&Path>) -> Result<()> {
    build_examples()?;
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let path = input(&folder, EXAMPLE, &["--count", &RECORDS.to_string()])?.to_string_lossy().into_owned();
    let (models, out) = (folder.join("models"), folder.join("out"));
    drop(std::fs::remove_dir_all(&models));
    let model = root().join("models/fraud_velocity.onnx");
    testkit::publish_version(&models, EXAMPLE, 1, &model).context("cannot write the model repository")?;
    let (models, out) = (models.to_string_lossy().into_owned(), out.to_string_lossy().into_owned());
    let repository = ["--models", &models];
    let drift = |share| ["--models", &models, "--drift", &out, "--drift-window", "10days", "--drift-sample", share];
    let (tenth, all) = (drift("0.1"), drift("1"));
    let quality = ["--models", &models, "--quality", &out];
    println!(
        "\n{EXAMPLE}, {RECORDS} records of a file, {runs} pairs of runs; ratios of neighbours: median (smallest to largest)"
    );
    let mut rows = Vec::new();
    for workers in ["1", "2"] {
        let job = ["--input", &path, "--workers", workers];
        for (name, without, with) in [
            ("versions of a repository", &[][..], &repository[..]),
            ("drift of a tenth", &repository, &tenth),
            ("drift of all", &repository, &all),
            ("quality by labels", &repository, &quality),
        ] {
            let run_of = |more: &[&str]| {
                // A job that starts anew does not write beside the parts of another one.
                drop(std::fs::remove_dir_all(&out));
                once(&[&job[..], more].concat(), None)
            };
            let pair = |run| turn(run, || run_of(without), || run_of(with));
            let pairs = (0..runs).map(pair).collect::<Result<Vec<_>>>()?;
            let elapsed: Vec<f64> = pairs.iter().map(|(plain, other)| other.elapsed_s / plain.elapsed_s).collect();
            let cpu: Vec<f64> = pairs.iter().map(|(plain, other)| other.cpu_s / plain.cpu_s).collect();
            println!("{workers} workers, {name:<26} time {}   processor time {}", shown(&elapsed), shown(&cpu));
            rows.push(json!({ "workers": workers, "with": name, "time": elapsed, "processor_time": cpu }));
        }
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&Value::from(rows))?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
