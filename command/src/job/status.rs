//! `tidemill job status`.

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_state::ErrorKind;

use super::client::Client;
use super::gathered::{Gathered, text};
use super::operators::rate;
use crate::args::job::At;
use crate::failure::Failure;
use crate::report::{self, size, table};

pub fn run(at: &At, json: bool) -> Result<String, Failure> {
    let client = Client::of(at)?;
    let gathered = Gathered::read(&client)?;
    let output = if json { report::json(&document(&gathered))? } else { words(&gathered) };
    failed(&gathered.job).map_or(Ok(output.clone()), |failure| Err(Failure { output, ..failure }))
}

/// Returns the failure of a job that has failed.
pub fn failed(job: &Value) -> Option<Failure> {
    let why = (job["state"] == "failed").then(|| text(&job["failure"]))?;
    Some(Failure::new(ErrorKind::Internal, format!("the job has failed: {why}")))
}

fn document(of: &Gathered) -> Value {
    json!({ "job": of.job, "processes": of.processes })
}

fn words(of: &Gathered) -> String {
    let job = &of.job;
    let number = |field: &str| job[field].as_i64().map_or_else(|| "none".to_owned(), |number| number.to_string());
    let bytes = |field: &str| job[field].as_u64().map_or_else(|| "-".to_owned(), size);
    let ago = |ms: &Value| ms.as_i64().zip(job["now_ms"].as_i64()).map(|(then, now)| now.saturating_sub(then));
    let commit = ago(&job["last_commit_ms"]).map_or_else(|| "none yet".to_owned(), |ms| format!("{} ago", time(ms)));
    let up = job["uptime_seconds"].as_f64().map_or(0, |seconds| (seconds * 1000.0) as i64);
    let processes = number("processes");
    let plural = if processes == "1" { "" } else { "es" };
    let mut rows: Vec<Vec<String>> = [
        ["job".to_owned(), text(&job["job"])],
        ["state".to_owned(), text(&job["state"])],
        ["up".to_owned(), time(up)],
        ["workers".to_owned(), format!("{} in {processes} process{plural}", number("workers"))],
        ["records/s".to_owned(), rate(&job["records_per_second"])],
        ["last commit".to_owned(), format!("{commit}, epoch {}", number("committed_epoch"))],
        ["restored from".to_owned(), number("restored_epoch")],
        ["in flight".to_owned(), number("in_flight")],
        ["pending".to_owned(), number("pending")],
        ["state size".to_owned(), bytes("state_bytes")],
        ["dead letters".to_owned(), number("dead_letters")],
        ["late".to_owned(), number("late")],
        ["bottleneck".to_owned(), job["cause"]["sentence"].as_str().unwrap_or("none").to_owned()],
    ]
    .map(Vec::from)
    .to_vec();
    rows.extend(of.silent().into_iter().map(|words| vec!["attention".to_owned(), words]));
    // The rows have no head.
    table(&["", ""], &rows).trim_start().to_owned()
}

/// Returns a time as people read it, to the second.
fn time(ms: i64) -> String {
    let seconds = u64::try_from(ms).unwrap_or_default() / 1000;
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
