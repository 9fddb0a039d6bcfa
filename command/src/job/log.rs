//! `tidemill job log`.

use std::io::BufRead;
use std::process::ExitCode;

use serde_json::Value;
use tidemill_state::ErrorKind;

use super::client::Client;
use super::gathered::{has_several, text};
use super::status::failed;
use crate::args::job::At;
use crate::failure::Failure;
use crate::report;

pub fn run(at: &At, follow: bool, jsonl: bool) -> Result<String, Failure> {
    let client = Client::of(at)?;
    // It is opened first, so that no line is lost in between; a line may come twice.
    let events = follow.then(|| client.events()).transpose()?;
    // Events are of the process that answers: what is followed begins with its lines alone.
    let of_all = !follow && has_several(&client.get("job")?);
    let logs = client.get(if of_all { "cluster/logs" } else { "logs" })?;
    if let Some(reason) = logs["reason"].as_str() {
        return Err(Failure::new(ErrorKind::Invalid, format!("the job keeps no lines: {reason}")));
    }
    let lines = logs["lines"].as_array().cloned().unwrap_or_default();
    let output: String = lines.iter().map(|one| line(one, jsonl)).collect();
    match events {
        None => Ok(output),
        Some(events) => {
            report::print(&output);
            go_on(events, &lines, jsonl)
        }
    }
}

/// Prints each line that comes, until the job ends.
fn go_on(events: impl BufRead, known: &[Value], jsonl: bool) -> Result<String, Failure> {
    let (mut name, mut job) = (String::new(), Value::Null);
    // What is cut off ends as what was closed does: how the job was until then says what happened.
    for text in events.lines().map_while(Result::ok) {
        if let Some(event) = text.strip_prefix("event:") {
            name = event.trim().to_owned();
        }
        let Some(data) = text.strip_prefix("data:") else { continue };
        let mut data: Value = serde_json::from_str(data).unwrap_or_default();
        match name.as_str() {
            "stats" => job = data["job"].take(),
            "log" if !known.contains(&data) && report::print(&line(&data, jsonl)) != ExitCode::SUCCESS => break,
            _ => {}
        }
    }
    failed(&job).map_or(Ok(()), Err)?;
    match job["state"].as_str() {
        Some("stopped" | "finished" | "stopping") => Ok(String::new()),
        _ => Err(Failure::new(ErrorKind::Unavailable, "the job no longer answers: it has ended, or was killed")),
    }
}

fn line(of: &Value, jsonl: bool) -> String {
    if jsonl {
        return format!("{of}\n");
    }
    let time = of["time_ms"].as_i64().map_or_else(|| "unknown".to_owned(), report::time);
    let fields = of["fields"].as_object().into_iter().flatten();
    let fields: String = fields.map(|(name, value)| format!(" {name}={}", text(value))).collect();
    let process = of["process"].as_u64().map(|process| format!(" process={process}")).unwrap_or_default();
    format!("{time} {:5} {}: {}{fields}{process}\n", text(&of["level"]), text(&of["target"]), text(&of["message"]))
}
