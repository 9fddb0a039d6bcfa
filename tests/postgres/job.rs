//! The job on machines, which appends its predictions to one table and keeps the last one of each machine in another.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::postgres::Postgres;
use testkit::{example, finish, lines};

use crate::server::{execute, query};

/// So many that a job does not read them all before the fourth epoch ends.
const MACHINES: &str = "3000";
const SECONDS: &str = "100";

/// The score and the number of readings of each machine's window.
pub type Windows = BTreeMap<(String, i64), (f32, i64)>;

pub fn simulated() -> Command {
    let mut command = example("iot_window");
    command.args(["--machines", MACHINES, "--seconds", SECONDS]);
    command
}

/// Returns what a run without PostgreSQL and without faults predicts.
pub fn expected(scratch: &Path) -> Windows {
    let folder = scratch.join("expected");
    finish(simulated().arg("--predictions").arg(&folder));
    lines(&folder).iter().map(|line| window_of(line)).collect()
}

/// Returns the window of a line of predictions.
pub fn window_of(line: &str) -> ((String, i64), (f32, i64)) {
    let line: Value = serde_json::from_str(line).unwrap();
    let key = (line["machine_id"].as_str().unwrap().to_owned(), line["window_start"].as_i64().unwrap());
    (key, (line["score"].as_f64().unwrap() as f32, line["count"].as_i64().unwrap()))
}

/// Makes the tables empty, and forgets their markers.
pub fn new_tables(server: &Postgres) {
    execute(
        server,
        "drop table if exists predictions, latest, tidemill_marker;
         create table predictions (machine_id text not null, window_start timestamptz not null, score float4 not null,
           model text, count int not null, features jsonb, written timestamptz not null default now());
         create table latest (machine_id varchar(40) primary key, window_start bigint not null, score float8, model text,
           count bigint, features json)",
    );
}

/// Returns the command of the job, with short epochs.
pub fn job(server: &Postgres, checkpoints: &Path, workers: usize) -> Command {
    let mut command = simulated();
    command.args(["--workers", &workers.to_string(), "--checkpoint-interval", "50ms"]);
    command.args(["--predictions", &format!("{}?table=public.predictions", server.url())]);
    // Every window is below this threshold.
    let latest = format!("{}?table=latest&mode=upsert&key=machine_id", server.url());
    command.args(["--threshold", "1000", "--alerts", &latest, "--checkpoint-dir"]).arg(checkpoints);
    command
}

/// Checks that each window is in the table once, and that the other one has the last window of each machine.
pub fn exactly_once(server: &Postgres, expected: &Windows, when: &str) {
    let rows = query(
        server,
        "select machine_id, (extract(epoch from window_start) * 1000)::bigint, score, count::bigint from predictions",
    );
    let found: Windows = rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect();
    assert_eq!(rows.len(), found.len(), "{when}: windows are there twice");
    assert_eq!(found.len(), expected.len(), "{when}: windows are missing");
    assert!(found == *expected, "{when}: another score");
    let latest: BTreeMap<String, i64> = expected.keys().map(|(machine, start)| (machine.clone(), *start)).collect();
    let rows = query(server, "select machine_id, window_start from latest");
    let found: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(found == latest, "{when}: of {} machines the last window is wrong", latest.len());
}
