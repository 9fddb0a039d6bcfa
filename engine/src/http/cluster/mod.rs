//! `/api/v1/cluster`: all processes of the job as one. Whoever is asked asks the others, each within a second; one that
//! does not answer is marked, and the numbers are without it.

mod others;
mod peer;
mod whole;

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use self::others::{Other, others};
use self::peer::Peer;
use super::api::job::job;
use super::api::operators::{Operators, operators};
use super::shown::Shown;
use crate::locks::lock;

pub(super) use self::whole::{
    whole_checkpoints, whole_drift, whole_history, whole_hot_keys, whole_inference, whole_logs, whole_tail,
};

#[derive(Serialize)]
pub(super) struct Cluster {
    /// The job as the process that answers sees it, with the numbers of all that answered added up, and the bottleneck by
    /// the workers of all of them.
    job: Value,
    #[serde(flatten)]
    operators: Operators,
    processes: Vec<Process>,
}

#[derive(Serialize)]
struct Process {
    process: usize,
    /// Absent while it is not known, or when the process serves nothing.
    address: Option<String>,
    state: &'static str,
    /// Why it is not known how the process is.
    problem: Option<String>,
    /// The process's own view.
    job: Option<Value>,
}

/// The numbers of a job that are of one process and add up.
const SUMS: [&str; 8] = [
    "in_flight",
    "pending",
    "records_per_second",
    "dead_letters",
    "late",
    "state_bytes",
    "delta_bytes",
    "checkpoint_files_lost",
];

pub(super) async fn cluster(shown: &Shown, headers: &HeaderMap) -> Cluster {
    let watched = &shown.watched;
    let snapshot = shown.snapshot();
    let own = serde_json::to_value(job(shown, &snapshot)).unwrap_or_default();
    let mut whole = Cluster { job: own.clone(), operators: operators(shown, &snapshot), processes: Vec::new() };
    let address = watched.process.pages.own().map(|address| address.to_string());
    whole.processes.push(Process { process: watched.index, address, state: "answers", problem: None, job: Some(own) });
    others(shown, headers, ask).await.into_iter().for_each(|other| whole.add(other));
    whole.processes.sort_by_key(|process| process.process);
    // One that is silent may be the one that the others wait for.
    let all_answer = whole.processes.iter().all(|process| process.job.is_some());
    let state_is_full = lock(&shown.sampler).state_was_full()
        || whole.processes.iter().filter_map(|process| process.job.as_ref()).any(has_full_state);
    let room = all_answer.then(|| shown.room(state_is_full));
    let cause = shown.cause_by(|name| whole.operators.rates(name), room);
    whole.job["cause"] = serde_json::to_value(cause).unwrap_or_default();
    whole
}

fn has_full_state(job: &Value) -> bool {
    let (bytes, limit) = (job["state_bytes"].as_u64(), job["state_limit_bytes"].as_u64());
    bytes.zip(limit).is_some_and(|(bytes, limit)| bytes > limit)
}

async fn ask(peer: Peer) -> Result<(Value, Operators), String> {
    let job = peer.ask("/api/v1/job").await?;
    Ok((job, peer.ask("/api/v1/operators").await?))
}

impl Cluster {
    fn add(&mut self, other: Other<(Value, Operators)>) {
        let Other { process, address, answer } = other;
        match answer {
            Ok((job, operators)) => {
                SUMS.iter().for_each(|name| add(&mut self.job[*name], &job[*name]));
                self.operators.add(operators);
                self.processes.push(Process { process, address, state: "answers", problem: None, job: Some(job) });
            }
            Err(problem) => {
                let state = if address.is_some() { "silent" } else { "unknown" };
                self.processes.push(Process { process, address, state, problem: Some(problem), job: None });
            }
        }
    }
}

/// Adds a number of JSON to another, which stays an integer if both are.
fn add(to: &mut Value, number: &Value) {
    let integers = to.as_i64().zip(number.as_i64()).and_then(|(own, other)| own.checked_add(other));
    let floats = || to.as_f64().zip(number.as_f64()).map(|(own, other)| own + other);
    if let Some(sum) = integers.map(Value::from).or_else(|| floats().map(Value::from)) {
        *to = sum;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_stay_integers_and_what_is_no_number_stays() {
        for (own, other, sum) in [
            (json!(1), json!(2), json!(3)),
            (json!(1.5), json!(2), json!(3.5)),
            (json!(null), json!(2), json!(null)),
            (json!(4), json!(null), json!(4)),
        ] {
            let mut to = own;
            add(&mut to, &other);
            assert_eq!(to, sum);
        }
    }
}
