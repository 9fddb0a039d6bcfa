//! `/metrics`, `/livez` and `/readyz` of a running job, by the tools that read them: Prometheus' own checker, and a
//! client of HTTP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod native;
mod page;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use testkit::prometheus::program;
use testkit::{free_address, project};
use tidemill::job::JobSetup;
use tidemill::prelude::*;

/// Counts the odd ones of the counts that pass through it.
struct Odd;

impl KeyedLogic for Odd {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, u64, ()>, record: Record<u64>) -> Result<(), LogicError> {
        ctx.counter("odd").add(record.data % 2);
        ctx.emit(record.data);
        Ok(())
    }
}

/// A job that runs beside the test, and reads the lines that the test adds to its input.
struct Running {
    address: SocketAddr,
    scratch: tempfile::TempDir,
    written: AtomicU64,
    stop: Arc<AtomicBool>,
    job: std::thread::JoinHandle<Result<Snapshot, JobError>>,
}

impl Running {
    fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (input, output) = (scratch.path().join("numbers.jsonl"), scratch.path().join("out"));
        std::fs::write(&input, "").unwrap();
        let address = free_address();
        let settings = JobSettings {
            workers: 2,
            http: Some(address),
            checkpoint_dir: Some(scratch.path().join("checkpoints")),
            checkpoint_interval: millis(50),
            max_ahead: Some(days(365_000)),
            ..JobSettings::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
        let job = std::thread::spawn(move || {
            let numbers =
                FileSource::new([input], |n: &i64| EventTime(*n)).follow().max_malformed(MaxMalformed::unlimited());
            let sink = FileSink::json_lines(output);
            Job::new("watched", setup).run(move |flow| {
                let rows = |keys: &[u64]| Ok::<_, std::fmt::Error>(keys.iter().map(|key| Some(key + 1)).collect());
                flow.source("numbers", &numbers)?
                    .filter(|n| n % 10 != 3)
                    .key_by(|n| n % 7)
                    .window("tens", Assigner::tumbling(millis(10)))
                    .aggregate(counting())?
                    .results
                    .map(|window| window.value)
                    .key_by(|count| *count)
                    .process("odd", Order::EventTime, |_| Ok(Odd))?
                    .results
                    .lookup_join("names", &LookupSettings::default(), |count: &u64| *count, rows)?
                    .sink("out \"quoted\"", &sink)
            })
        });
        Self { address, scratch, written: AtomicU64::new(0), stop, job }
    }

    /// Adds lines to the input; the first of them is no number.
    fn write(&self, lines: u64) {
        let from = self.written.fetch_add(lines, Ordering::Relaxed);
        let text: String = (from..from + lines).map(|n| format!("{n}\n")).collect();
        let path = self.scratch.path().join("numbers.jsonl");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(format!("no number\n{text}").as_bytes()).unwrap();
    }

    /// Asks for a page; `None` while nothing is served.
    fn ask(&self, path: &str, accept: &str) -> Option<(u16, String, String)> {
        assert!(!self.job.is_finished(), "the job has ended");
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("http://{}{path}", self.address)).header("accept", accept).call().ok()?;
        let content_type = answer.headers().get("content-type")?.to_str().ok()?.to_owned();
        Some((answer.status().as_u16(), content_type, answer.body_mut().read_to_string().ok()?))
    }

    /// Asks again and again until `is` is true.
    #[expect(clippy::disallowed_methods, reason = "the test looks at a running job from outside")]
    fn until(&self, path: &str, is: impl Fn(u16, &str) -> bool) -> String {
        loop {
            if let Some((status, _, text)) = self.ask(path, "*/*")
                && is(status, &text)
            {
                return text;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.job.join().unwrap().unwrap();
    }
}

/// The sum of the samples of a family that have these labels.
fn sum(text: &str, family: &str, labels: &str) -> f64 {
    let samples = text.lines().filter(|line| {
        let rest = line.strip_prefix(family);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
    });
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Gives the text to `promtool check metrics`, which says nothing about a text without faults.
fn check(text: &str) {
    let child = Command::new(program(&project(), "promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|e| panic!("promtool is needed ({e}): `cargo xtask setup` gets it"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "promtool: {}: {said}\n{text}", output.status);
}

#[test]
fn promtool_has_nothing_to_say_under_load_and_at_rest() {
    let running = Running::start();
    check(&running.until("/metrics", |status, _| status == 200));
    let read = |text: &str| sum(text, "tidemill_operator_records_in_total", "operator=\"numbers\"");
    // Under load: more is read from one answer to the next.
    let mut seen = 0.0;
    for _ in 0..5 {
        running.write(20_000);
        let text = running.until("/metrics", |_, text| read(text) > seen);
        seen = read(&text);
        check(&text);
    }
    // At rest: all is read, and published.
    let all = running.written.load(Ordering::Relaxed) as f64;
    let text = running.until("/metrics", |_, text| {
        let published = sum(text, "tidemill_latency_seconds_count", "stage=\"total\"") > 0.0;
        read(text) == all && published
    });
    check(&text);
    assert_eq!(sum(&text, "tidemill_operator_dead_letters_total", "operator=\"numbers\""), 5.0);
    assert_eq!(sum(&text, "tidemill_dead_letters_total", "operator=\"numbers\""), 5.0);
    assert_eq!(sum(&text, "tidemill_job_state", "state=\"running\""), 1.0);
    assert_eq!(sum(&text, "tidemill_job_state", ""), 1.0);
    assert!(sum(&text, "tidemill_user_events_total", "operator=\"odd\",") > 0.0);
    assert!(sum(&text, "tidemill_state_bytes", "operator=\"tens\",") > 0.0);
    assert!(text.contains("operator=\"out \\\"quoted\\\"\""), "{text}");
    running.end();
}

/// Time that an operator has spent cannot be taken back: Prometheus would take that for a restart.
#[test]
fn no_counter_ever_decreases() {
    let running = Running::start();
    running.until("/readyz", |status, _| status == 200);
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for round in 0..200 {
        if round % 20 == 0 {
            running.write(5_000);
        }
        let text = running.until("/metrics", |status, _| status == 200);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let grows = ["_total", "_bucket", "_count", "_sum"]
                .iter()
                .any(|end| sample.split('{').next().unwrap().ends_with(end));
            if let Some(before) = last.insert(sample.to_owned(), value).filter(|_| grows) {
                assert!(value >= before, "{sample}: {before}, then {value}");
            }
        }
    }
    assert!(last.len() > 100, "{last:?}");
    running.end();
}

#[test]
fn the_text_is_open_metrics_only_for_those_who_ask() {
    let running = Running::start();
    running.until("/readyz", |status, _| status == 200);
    let (_, plain, text) = running.ask("/metrics", "*/*").unwrap();
    assert!(plain.starts_with("text/plain; version=0.0.4"), "{plain}");
    assert!(text.contains("# TYPE tidemill_operator_records_in_total counter\n"), "{text}");
    let (_, open, text) = running.ask("/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1").unwrap();
    assert!(open.starts_with("application/openmetrics-text"), "{open}");
    assert!(text.contains("# TYPE tidemill_operator_records_in counter\n") && text.ends_with("# EOF\n"), "{text}");
    running.end();
}

/// The mean of a stage of the latency.
fn mean(text: &str, stage: &str) -> f64 {
    let of = |end: &str| sum(text, &format!("tidemill_latency_seconds_{end}"), &format!("stage=\"{stage}\""));
    of("sum") / of("count")
}

#[test]
fn each_stage_of_the_latency_is_measured() {
    let running = Running::start();
    let text = running.until("/metrics", |status, text| {
        if status == 200 {
            running.write(500);
        }
        let stages = ["source", "pending", "features", "queue", "sink", "commit", "total"];
        stages.iter().all(|stage| mean(text, stage).is_finite())
    });
    running.end();
    // The same records are measured, and the part is shorter than the whole.
    assert!(mean(&text, "commit") <= mean(&text, "total"), "{text}");
    let of = |kind: &str, stage: &str| {
        sum(&text, "tidemill_latency_seconds_count", &format!("kind=\"{kind}\",worker=\"0\",stage=\"{stage}\""))
    };
    assert_eq!((of("keyed", "source"), of("source", "pending"), of("sink", "queue")), (0.0, 0.0, 0.0), "{text}");
}

#[test]
fn the_probes_list_what_they_look_at() {
    let running = Running::start();
    running.until("/readyz", |status, text| status == 200 && text == "ok\n");
    let text = running.until("/readyz?verbose", |status, _| status == 200);
    assert_eq!(text, "[+]mesh ok\n[+]restore ok\n[+]running ok\nreadyz check passed\n");
    let text = running.until("/livez?verbose=1", |status, _| status == 200);
    for worker in 0..2 {
        assert!(text.contains(&format!("[+]worker-{worker} ok\n[+]checkpoint-thread-{worker} ok\n")), "{text}");
    }
    running.end();
}
