//! The operators of a job as rows of a table.

use std::time::Duration;

use serde_json::Value;

use super::gathered::text;
use crate::args::job::Sort;
use crate::report::{size, time};

pub const HEAD: [&str; 11] =
    ["OPERATOR", "KIND", "WORKERS", "IN/S", "OUT/S", "BUSY", "BACKPR", "GAP", "STATE", "LATE", "DEAD"];

/// Returns a row for each operator.
pub fn rows(operators: &[Value], sort: Sort) -> Vec<Vec<String>> {
    let mut sorted: Vec<&Value> = operators.iter().collect();
    let by = match sort {
        Sort::Graph => None,
        Sort::Busy => Some("busy"),
        Sort::In => Some("in_per_second"),
        Sort::State => Some("state_bytes"),
    };
    if let Some(field) = by {
        let value = |operator: &Value| operator[field].as_f64().unwrap_or(-1.0);
        sorted.sort_by(|one, other| value(other).total_cmp(&value(one)));
    }
    sorted.into_iter().map(row).collect()
}

fn row(of: &Value) -> Vec<String> {
    let gap = match (of["input_ended"].as_bool(), of["watermark_gap_seconds"].as_f64()) {
        (Some(true), _) => "ended".to_owned(),
        (_, gap) => gap.map_or_else(|| "-".to_owned(), seconds),
    };
    let count = |field: &str| of[field].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
    vec![
        text(&of["name"]),
        text(&of["kind"]),
        count("workers"),
        rate(&of["in_per_second"]),
        rate(&of["out_per_second"]),
        percent(&of["busy"]),
        percent(&of["backpressured"]),
        gap,
        of["state_bytes"].as_u64().map_or_else(|| "-".to_owned(), size),
        count("late"),
        count("dead_letters"),
    ]
}

/// Returns a time as people read it. A watermark may be ahead of the clock.
fn seconds(of: f64) -> String {
    if of < 60.0 {
        return format!("{of:.1} s");
    }
    // The two largest units are enough.
    let time = humantime::format_duration(Duration::from_secs(of as u64)).to_string();
    time.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns a number per second.
pub fn rate(of: &Value) -> String {
    of.as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"))
}

/// Returns the job in a line.
pub fn headline(job: &Value) -> String {
    let now = job["now_ms"].as_i64().map_or_else(String::new, time);
    let committed = job["committed_epoch"].as_u64().map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
    let bottleneck = job["cause"]["operator"].as_str().map_or_else(String::new, |name| format!(", bottleneck {name}"));
    let (name, state, rate) = (text(&job["job"]), text(&job["state"]), rate(&job["records_per_second"]));
    format!("{now} {name} {state}, {rate} records/s, committed epoch {committed}{bottleneck}")
}

fn percent(of: &Value) -> String {
    of.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash_and_the_busiest_comes_first() {
        let operators = [
            json!({ "name": "a", "kind": "map", "busy": null, "in_per_second": 3.4, "input_ended": true }),
            json!({ "name": "b", "kind": "map", "busy": 0.5, "in_per_second": 1.0, "watermark_gap_seconds": -2.0 }),
        ];
        let names = |sort| rows(&operators, sort).into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(names(Sort::Graph), ["a", "b"]);
        assert_eq!(names(Sort::Busy), ["b", "a"]);
        assert_eq!(names(Sort::In), ["a", "b"]);
        let row = rows(&operators, Sort::Graph)[0].join(" ");
        assert_eq!(row, "a map - 3 - - - ended - - -");
        assert_eq!([seconds(-2.0), seconds(0.44), seconds(90.0)], ["-2.0 s", "0.4 s", "1m 30s"]);
        assert_eq!(seconds(400_000.0), "4days 15h");
    }
}
