//! What it costs a job that its models can change, that one is loaded or scores in the shadow, that drift is looked for, and
//! that labels judge the scores: runs with and without take turns, and the ratios of neighbours are reported.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::measure::{input, shown, turn};
use super::overhead::{Taken, once};
use crate::{build_examples, cache, check, models, root};

const EXAMPLE: &str = "fraud_velocity";
const RECORDS: u64 = 4_000_000;
/// The version that is ten times slower than the first one, the one of 100 MB, and the first one without features.json.
const SLOW: u64 = 2;
const LARGE: u64 = 3;
const BARE: u64 = 4;
/// The rates with which a shadow runs, by workers, and for how long. They leave processors idle.
const RATES: [(&str, u64); 2] = [("1", 20_000), ("2", 30_000)];
const SECONDS: u64 = 15;
/// Records of a run in which the large version is loaded: it takes most of it.
const RECORDS_OF_LOAD: u64 = 12_000_000;

pub fn run(runs: usize, file: Option<&Path>) -> Result<()> {
    build_examples()?;
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let repository = repository(&folder)?;
    let path = input(&folder, EXAMPLE, &["--count", &RECORDS.to_string()])?.to_string_lossy().into_owned();
    let mut bench = Bench { runs, folder: &folder, rows: Vec::new() };
    println!("\n{EXAMPLE}, {runs} pairs of runs; ratios of neighbours: median (smallest to largest)");
    let (out, model) = (text(&folder.join("out")), text(&folder.join("trained/fraud_velocity.onnx")));
    let models = text(&repository);
    let bare = format!("{EXAMPLE}/{BARE}");
    let bare = ["--models", &models, "--use-model", &bare];
    let first = ["--models", &models, "--use-model", "fraud_velocity/1"];
    let drift = |share| ["--drift", &out, "--drift-window", "10days", "--drift-sample", share];
    println!("{RECORDS} records of a file: time and processor time");
    for workers in ["1", "2"] {
        let job = ["--input", &path, "--workers", workers];
        let versions = [&job[..], &first].concat();
        let file = [&job[..], &["--model", &model]].concat();
        let bare = [&job[..], &bare].concat();
        bench.compare(workers, "versions of a repository", &file, &bare, Shown::Times)?;
        bench.compare(workers, "features.json", &bare, &versions, Shown::Times)?;
        for (name, more) in [
            ("drift of a tenth", &drift("0.1")[..]),
            ("drift of all", &drift("1")),
            ("quality by labels", &["--quality", &out]),
        ] {
            bench.compare(workers, name, &versions, &[&versions[..], more].concat(), Shown::Times)?;
        }
    }
    let events = text(&folder.join("events"));
    let control = |name: &str, change: Option<Value>| -> Result<String> {
        let path = folder.join(format!("{name}.jsonl"));
        let request =
            |change| json!({ "id": name, "operator": "score", "change": change, "by": "bench", "reason": name });
        std::fs::write(&path, change.map_or_else(String::new, |change| format!("{}\n", request(change))))?;
        Ok(text(&path))
    };
    // Both jobs read a control file, so that the change is all that differs.
    let controlled = |path| [&first[..], &["--model-events", &events, "--control", path]].concat();
    let nothing = control("nothing", None)?;
    let plain = controlled(&nothing);
    println!("fixed rates for {SECONDS} s: p99 from arrival to prediction");
    let shadow = control("shadow", Some(json!({ "shadow": { "model": format!("{EXAMPLE}/{SLOW}") } })))?;
    let shadow = controlled(&shadow);
    for (workers, rate) in RATES {
        let (count, rate) = ((rate * SECONDS).to_string(), rate.to_string());
        let job = ["--count", &count, "--rate", &rate, "--workers", workers];
        let (without, with) = ([&job[..], &plain].concat(), [&job[..], &shadow].concat());
        bench.compare(workers, "a shadow, 10 times slower", &without, &with, Shown::P99)?;
    }
    println!("{RECORDS_OF_LOAD} records as they are made: time");
    let switch =
        json!({ "switch": { "model": format!("{EXAMPLE}/{LARGE}"), "from_event_time": "2100-01-01T00:00:00Z" } });
    let load = control("load", Some(switch))?;
    let load = controlled(&load);
    for workers in ["1", "2"] {
        let count = RECORDS_OF_LOAD.to_string();
        let job = ["--count", &count, "--workers", workers];
        let (without, with) = ([&job[..], &plain].concat(), [&job[..], &load].concat());
        bench.compare(workers, "100 MB are loaded", &without, &with, Shown::Load)?;
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&bench.rows)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns a repository with the example's model, trained and exported with a baseline, and both heavier ones. It is made
/// once.
fn repository(folder: &Path) -> Result<PathBuf> {
    let repository = folder.join("repository");
    let versions = repository.join(EXAMPLE);
    if !versions.join(BARE.to_string()).join("model.json").exists() {
        drop(std::fs::remove_dir_all(&repository));
        let trained = folder.join("trained");
        std::fs::create_dir_all(&trained)?;
        models::export_fraud(&repository, &trained)?;
        let (slow, large) = (folder.join("slow.onnx"), folder.join("large.onnx"));
        let mut script = Command::new(models::environment()?);
        script.arg(root().join("bench/heavier.py")).arg(versions.join("1/model.onnx")).args([&slow, &large]);
        check(&mut script)?;
        // The slow one has the hash of the file in its metadata, as the first one.
        let of_slow = versions.join(SLOW.to_string());
        std::fs::create_dir_all(&of_slow)?;
        std::fs::copy(versions.join("1/features.json"), of_slow.join("features.json"))?;
        let bare = trained.join(EXAMPLE).with_extension("onnx");
        for (version, model) in [(SLOW, slow), (LARGE, large), (BARE, bare)] {
            testkit::publish_version(&repository, EXAMPLE, version, &model).context("cannot write the repository")?;
        }
    }
    Ok(repository)
}

/// What is compared, and printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Times,
    /// Of a job with a change.
    P99,
    /// The times of a job with a change.
    Load,
}

struct Bench<'a> {
    runs: usize,
    folder: &'a Path,
    rows: Vec<Value>,
}

impl Bench<'_> {
    /// Runs both jobs in turn, and prints the ratios: of p99, or of time and processor time.
    fn compare(&mut self, workers: &str, name: &str, without: &[&str], with: &[&str], what: Shown) -> Result<()> {
        let run_of = |job: &[&str]| {
            // A job that starts anew does not write beside the parts of another one.
            for written in ["out", "events"] {
                drop(std::fs::remove_dir_all(self.folder.join(written)));
            }
            once(job, None)
        };
        let changed = || {
            let taken = run_of(with)?;
            ensure!(what == Shown::Times || was_made(&self.folder.join("events"))?, "{name}: the change was not made");
            Ok(taken)
        };
        let pair = |run| turn(run, || run_of(without), changed);
        let pairs = (0..self.runs).map(pair).collect::<Result<Vec<_>>>()?;
        let ratios =
            |of: fn(&Taken) -> f64| -> Vec<f64> { pairs.iter().map(|(plain, other)| of(other) / of(plain)).collect() };
        let [elapsed, cpu, p99] = [ratios(|t| t.elapsed_s), ratios(|t| t.cpu_s), ratios(|t| t.p99_ms)];
        if what == Shown::P99 {
            let plain: Vec<f64> = pairs.iter().map(|(plain, _)| plain.p99_ms).collect();
            println!("{workers} workers, {name:<26} p99 {}, without it {} ms", shown(&p99), shown(&plain));
        } else {
            println!("{workers} workers, {name:<26} time {}   processor time {}", shown(&elapsed), shown(&cpu));
        }
        self.rows.push(json!({ "workers": workers, "with": name, "time": elapsed, "processor_time": cpu, "p99": p99 }));
        Ok(())
    }
}

/// Returns whether the only event of these is a change that was made.
fn was_made(events: &Path) -> Result<bool> {
    let mut lines = Vec::new();
    for file in std::fs::read_dir(events)? {
        lines.extend(
            std::fs::read_to_string(file?.path())?
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<Vec<Value>, _>>()?,
        );
    }
    Ok(matches!(&lines[..], [made] if made["epoch"].is_number()))
}
