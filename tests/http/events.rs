//! The stream of events, and the tails of streams.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value as Json;
use tidemill::job::JobState;

use super::client::{ask, connect, get};
use super::job::{self, Served};

/// A page that listens.
struct Page(BufReader<TcpStream>);

impl Page {
    fn listen(job: &Served, query: &str) -> Self {
        let mut socket = connect(job.address);
        write!(socket, "GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = Self(BufReader::new(socket));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(page.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        page
    }

    /// The next event: its name and its data. `None` when the stream has ended. Lines with the lengths of chunks are
    /// neither.
    fn next(&mut self) -> Option<(String, Json)> {
        let (mut name, mut line) = (String::new(), String::new());
        while self.0.read_line(&mut line).unwrap() > 0 {
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
            line.clear();
        }
        None
    }

    fn wait_for(&mut self, name: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let (found, data) = self.next().unwrap();
            if found == name && wanted(&data) {
                return data;
            }
        }
    }
}

#[test]
fn a_page_hears_of_numbers_checkpoints_and_the_records_of_a_stream() {
    let job = job::start();
    let mut page = Page::listen(&job, "?tail=counts&filter=7");
    let stats = page.wait_for("stats", |_| true);
    assert_eq!((&stats["job"]["job"], &stats["job"]["state"]), (&"numbers".into(), &"running".into()));
    assert!(stats["operators"]["operators"].is_array(), "{stats}");
    page.wait_for("checkpoint", |checkpoint| checkpoint["result"] == "committed");
    // Windows of numbers that come now; each counts about as many as seven keys have of ten numbers.
    job.write(&(3000..20_000).map(|n| format!("{}\n", n / 7)).collect::<String>());
    let tail = page.wait_for("tail", |tail| !tail["records"].as_array().unwrap().is_empty());
    assert_eq!(tail["stream"], "counts");
    for record in tail["records"].as_array().unwrap() {
        assert!(record["text"].as_str().unwrap().contains('7') && record["time_ms"].is_i64(), "{tail}");
    }
}

#[test]
fn the_last_event_says_how_the_job_has_ended() {
    let job = job::start();
    let mut page = Page::listen(&job, "");
    let stop = ask(job.address, "POST", "/api/v1/stop", &[&job.token()], "");
    assert_eq!(stop.status, 202, "{stop:?}");
    let mut last = None;
    while let Some((name, data)) = page.next() {
        if name == "stats" {
            last = Some(data["job"]["state"].clone());
        }
    }
    assert_eq!(last, Some("stopped".into()));
    assert_eq!(job.ended().unwrap().state, JobState::Stopped);
}

#[test]
fn dead_letters_are_there_with_their_reasons_for_whoever_comes_late() {
    let job = job::start();
    let is_there = |tail: &Json| tail["records"].as_array().is_some_and(|records| !records.is_empty());
    let tail = job.wait_until("/api/v1/tail?stream=dead-letters", is_there);
    let letter = &tail["records"][0];
    assert_eq!((&letter["text"], &letter["operator"]), (&"\"a letter\"".into(), &"numbers".into()));
    assert!(letter["reason"].as_str().unwrap().contains("expected"), "{letter}");
    assert!(letter["origin"].as_str().unwrap().contains("numbers.jsonl:2001"), "{letter}");
    let others = get(job.address, "/api/v1/tail?stream=dead-letters&filter=no+such+text").json();
    assert_eq!(others["records"], serde_json::json!([]));
}

#[test]
fn there_is_no_tail_of_what_is_no_stream() {
    let job = job::start();
    assert!(get(job.address, "/api/v1/tail?stream=nobody").problem(404).contains("nobody"));
    assert!(get(job.address, "/api/v1/events?tail=nobody").problem(404).contains("nobody"));
    assert!(get(job.address, "/api/v1/tail").problem(400).contains("stream"));
}
