//! The log of a job, and its spans, as a program that is started from a command line writes and sends them.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod spans;

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::{example, fail_with, finish, small_example};

/// Runs a job whose every turn is slow, so that its operators have something to log. Returns its log's lines.
fn log(flags: &[&str]) -> Vec<String> {
    let mut command = example("iot_window");
    command.args(["--machines", "50", "--seconds", "40", "--workers", "2", "--slow-batch", "0s"]).args(flags);
    let log = String::from_utf8(finish(&mut command).stderr).expect("a log in UTF-8");
    log.lines().map(str::to_owned).collect()
}

#[test]
fn each_line_of_json_names_its_job_worker_operator_and_epoch() {
    let lines = log(&["--log-format", "json"]);
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line["job"] == "iot_window" && line["level"] == "WARN"), "{lines:?}");
    let slow: Vec<&Value> = lines.iter().filter(|line| line["fields"]["took_ms"].is_u64()).collect();
    assert!(slow.iter().all(|line| line["epoch"].is_u64() && line["operator"].is_string()), "{slow:?}");
    let workers: BTreeSet<Option<u64>> = slow.iter().map(|line| line["worker"].as_u64()).collect();
    assert_eq!(workers, [Some(0), Some(1)].into());
    let operators: BTreeSet<&str> = slow.iter().filter_map(|line| line["operator"].as_str()).collect();
    assert!(operators.len() > 2, "{operators:?}");
    let batches: Vec<&Value> = lines.iter().filter(|line| line["fields"]["records"].is_u64()).collect();
    assert!(!batches.is_empty() && batches.iter().all(|line| line["operator"] == "score"), "{batches:?}");
}

#[test]
fn lines_of_text_name_them_too_and_have_no_colours_where_nobody_sees_them() {
    let lines = log(&[]);
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(line.contains(" job=\"iot_window\"") && line.contains(" epoch="), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    assert!(lines.iter().any(|line| line.contains(" worker=1 operator=\"score\"")), "{lines:#?}");
}

#[test]
fn nothing_is_slow_unless_it_is_asked_for() {
    let output = finish(example("iot_window").args(["--machines", "50", "--seconds", "40"]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_format_that_does_not_exist_is_refused() {
    let errors = fail_with(2, small_example("iot_window").args(["--log-format", "xml"]));
    assert!(errors.contains("xml") && errors.contains("text") && errors.contains("json"), "{errors}");
}
