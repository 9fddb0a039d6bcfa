//! `/api/v1/cluster/…`: history, checkpoints, models, drift, hot keys, log, and tail of all processes together. What a process
//! that does not answer would have said is missing; `/api/v1/cluster` says which one that is.

use axum::http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::others::others;
use super::peer::Peer;
use crate::http::api::checkpoints::{Checkpoints, checkpoints};
use crate::http::api::drift::{Drift, drift};
use crate::http::api::history::{History, Rows, history};
use crate::http::api::hotkeys::{HotKeys, hot_keys};
use crate::http::api::inference::{Inference, inference};
use crate::http::api::logs::logs;
use crate::http::sampler::{COLUMNS, Row, Whole};
use crate::http::shown::Shown;
use crate::http::tail::Tail;

/// Number of lines, and of records of a tail, that there are at most.
const KEPT: usize = 200;
/// Longest time between the rows of two processes that are of the same second, ms. Each looks when it likes.
const TOGETHER_MS: f64 = 1500.0;

/// What the other processes answer, each with its index.
async fn answers<T>(shown: &Shown, headers: &HeaderMap, path: String) -> Vec<(usize, T)>
where
    T: DeserializeOwned + Send + 'static,
{
    let ask = |peer: Peer| {
        let path = path.clone();
        async move { peer.ask(&path).await }
    };
    let all = others(shown, headers, ask).await;
    all.into_iter().filter_map(|other| Some((other.process, other.answer.ok()?))).collect()
}

/// Returns the rows after `since_ms`, of the seconds of the process that answers.
pub(in crate::http) async fn whole_history(shown: &Shown, headers: &HeaderMap, since_ms: i64) -> History {
    let mut whole = history(shown, since_ms);
    let since_ms = since_ms.saturating_sub(TOGETHER_MS as i64);
    let path = format!("/api/v1/history?since={since_ms}");
    for (_, Rows { rows }) in answers(shown, headers, path).await {
        add_rows(&mut whole.rows, &rows);
    }
    whole
}

/// Adds another process's rows to those of the same seconds.
fn add_rows(whole: &mut [Row], other: &[Row]) {
    for row in whole {
        let apart = |other: &&Row| (other[0].unwrap_or(f64::MIN) - row[0].unwrap_or_default()).abs();
        let nearest = other.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        let Some(nearest) = nearest.filter(|nearest| apart(nearest) <= TOGETHER_MS) else { continue };
        for ((value, other), (_, whole)) in row.iter_mut().zip(nearest).zip(COLUMNS) {
            let both = value.iter().chain(other).copied();
            *value = match whole {
                Whole::Own => *value,
                Whole::Sum => both.reduce(|value, other| value + other),
                Whole::Most => both.reduce(f64::max),
            };
        }
    }
}

pub(in crate::http) async fn whole_checkpoints(shown: &Shown, headers: &HeaderMap) -> Checkpoints {
    let mut whole = checkpoints(shown);
    let others = answers(shown, headers, "/api/v1/checkpoints".to_owned()).await;
    whole.add_all(others.into_iter().map(|(_, other)| other));
    whole
}

pub(in crate::http) async fn whole_inference(shown: &Shown, headers: &HeaderMap) -> Inference {
    let mut whole = inference(&shown.snapshot());
    let others = answers(shown, headers, "/api/v1/inference".to_owned()).await;
    others.into_iter().for_each(|(_, other)| whole.add(other));
    whole
}

pub(in crate::http) async fn whole_drift(shown: &Shown, headers: &HeaderMap) -> Drift {
    let mut whole = drift(shown);
    let others = answers(shown, headers, "/api/v1/drift".to_owned()).await;
    others.into_iter().for_each(|(_, other)| whole.add(other));
    whole
}

pub(in crate::http) async fn whole_hot_keys(shown: &Shown, headers: &HeaderMap) -> HotKeys {
    let mut whole = hot_keys(shown);
    let others = answers(shown, headers, "/api/v1/hotkeys".to_owned()).await;
    whole.add_all(others.into_iter().map(|(_, other)| other));
    whole
}

/// Lines of the logs, each with its process.
#[derive(Serialize)]
pub(in crate::http) struct WholeLogs {
    lines: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Value>,
}

pub(in crate::http) async fn whole_logs(shown: &Shown, headers: &HeaderMap) -> WholeLogs {
    let own = serde_json::to_value(logs()).unwrap_or_default();
    let reason = own.get("reason").cloned();
    let mut all = vec![(shown.watched.index, own)];
    all.extend(answers(shown, headers, "/api/v1/logs".to_owned()).await);
    WholeLogs { lines: lines_of(&all), reason }
}

/// Returns the newest lines of all processes in the order of their times, each with the index of its process.
fn lines_of(logs: &[(usize, Value)]) -> Vec<Value> {
    let lines = |(process, log): &(usize, Value)| -> Vec<Value> {
        let lines = log["lines"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let with_process = |line: &serde_json::Map<String, Value>| {
            let mut line = line.clone();
            line.insert("process".to_owned(), (*process).into());
            Value::Object(line)
        };
        lines.map(with_process).collect()
    };
    let mut all: Vec<Value> = logs.iter().flat_map(lines).collect();
    all.sort_by_key(|line| line["time_ms"].as_i64());
    all.split_off(all.len().saturating_sub(KEPT))
}

/// Returns what `own` and the other processes have of the stream, with `query` as it was asked for.
pub(in crate::http) async fn whole_tail(shown: &Shown, headers: &HeaderMap, own: Tail, query: &str) -> Tail {
    let mut whole = own.of(shown.watched.index);
    for (process, other) in answers::<Tail>(shown, headers, format!("/api/v1/tail?{query}")).await {
        whole.add(other.of(process), KEPT);
    }
    whole
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A row of a time and of rates, with two latencies and one state.
    fn row(time_ms: f64, rate: Option<f64>, p99: Option<f64>, state: f64) -> Row {
        [Some(time_ms), rate, p99, p99, None, None, Some(state), Some(0.0)]
    }

    #[test]
    fn rows_of_the_same_second_are_one_and_a_second_without_a_neighbour_stays() {
        let mut whole = [
            row(1000.0, None, None, 1.0),
            row(2000.0, Some(10.0), Some(0.5), 2.0),
            row(9000.0, Some(10.0), Some(0.5), 3.0),
        ];
        add_rows(&mut whole, &[row(1100.0, Some(7.0), Some(0.2), 5.0), row(1900.0, Some(1.0), Some(0.9), 5.0)]);
        let expected = [
            row(1000.0, Some(7.0), Some(0.2), 6.0),
            row(2000.0, Some(11.0), Some(0.9), 7.0),
            row(9000.0, Some(10.0), Some(0.5), 3.0),
        ];
        assert_eq!(whole, expected);
        add_rows(&mut whole, &[]);
        assert_eq!(whole, expected);
    }

    #[test]
    fn lines_come_in_the_order_of_their_times_with_their_processes_and_nonsense_is_left_out() {
        let line = |time: i64| json!({ "time_ms": time, "message": "m" });
        let logs = [
            (0, json!({ "lines": [line(1), line(5)] })),
            (1, json!({ "lines": [line(3), 7, "text"] })),
            (2, json!("no log")),
        ];
        let seen: Vec<(i64, u64)> = lines_of(&logs)
            .iter()
            .map(|line| (line["time_ms"].as_i64().unwrap(), line["process"].as_u64().unwrap()))
            .collect();
        assert_eq!(seen, [(1, 0), (3, 1), (5, 0)]);
        let many: Vec<Value> = (0..300).map(line).collect();
        let kept = lines_of(&[(0, json!({ "lines": many }))]);
        assert_eq!((kept.len(), kept[0]["time_ms"].as_i64()), (KEPT, Some(100)));
    }
}
