//! The spans of a job: they reach a collector, and no collector can keep a job from going on or from ending.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::collector::{Collector, Manner, Span};
use testkit::{example, fail_with, finish, free_address};

/// Returns a command that runs a job with two workers and many epochs, and sends its spans to `url`.
fn job(url: &str, folder: &Path) -> Command {
    let mut command = example("iot_window");
    command.args(["--machines", "2000", "--seconds", "60", "--workers", "2", "--otlp-endpoint", url]);
    command.arg("--checkpoint-dir").arg(folder.join("checkpoints")).args(["--checkpoint-interval", "20ms"]);
    command.arg("--predictions").arg(folder.join("predictions"));
    command
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn of_name<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn each_epoch_is_a_trace_with_the_phases_of_its_checkpoint_and_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(Manner::Take);
    let mut command = job(&format!("{}/", collector.url), folder.path());
    command.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test%20bench");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one");
    let output = finish(command.args(["--log-format", "json", "--slow-batch", "0s"]));
    let spans = collector.spans();
    let epochs = of_name(&spans, "epoch");
    assert!(epochs.len() > 1, "{spans:#?}");
    let by_trace: BTreeMap<&str, &Span> = epochs.iter().map(|epoch| (&*epoch.trace, *epoch)).collect();
    let numbers: BTreeSet<&str> = epochs.iter().map(|epoch| &*epoch.attributes["tidemill.epoch"]).collect();
    assert_eq!((by_trace.len(), numbers.len()), (epochs.len(), epochs.len()));
    let ids: BTreeSet<&str> = spans.iter().map(|span| &*span.id).collect();
    assert_eq!(ids.len(), spans.len());
    for span in &spans {
        let root = by_trace[&*span.trace];
        assert_eq!(span.parent, if span.name == "epoch" { "" } else { &*root.id }, "{span:?}");
        assert!(span.began <= span.ended && span.error.is_none(), "{span:?}");
        assert_eq!(span.resource["service.name"], "iot_window");
        assert_eq!(span.resource["deployment.environment.name"], "test bench");
    }
    for name in ["align", "flush", "write delta", "publish predictions"] {
        let workers: BTreeSet<&str> =
            of_name(&spans, name).iter().map(|span| &*span.attributes["tidemill.worker"]).collect();
        assert_eq!(workers, ["0", "1"].into(), "{name}");
    }
    assert_eq!(of_name(&spans, "write manifest").len(), epochs.len());
    assert!(of_name(&spans, "publish predictions").iter().all(|span| span.kind == 4));
    for head in collector.heads() {
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf") && head.contains("x-tenant: one"), "{head}");
    }
    // The lines of the log name the traces.
    let lines = log(&output);
    let named: BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line))
        .filter_map(|line| Some(line["trace_id"].as_str()?.to_owned()))
        .collect();
    assert!(named.iter().any(|trace| by_trace.contains_key(&**trace)), "{named:?}\n{lines}");
}

/// A collector that takes nothing costs spans, and nothing else. The time-out of an hour would show if anything waited.
#[test]
fn a_job_goes_on_and_ends_whatever_the_collector_does() {
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected");
    finish(example("iot_window").args(["--machines", "2000", "--seconds", "60", "--predictions"]).arg(&expected));
    let nobody = format!("http://{}", free_address());
    let started = |manner| Collector::start(manner).url;
    for (what, url) in [
        ("nobody", nobody),
        ("silent", started(Manner::Silent)),
        ("refuses", started(Manner::Status(400))),
        ("is busy", started(Manner::Status(503))),
        ("is no collector", started(Manner::Status(404))),
    ] {
        let own = folder.path().join(what);
        let mut command = job(&url, &own);
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000").env("OTEL_BSP_MAX_QUEUE_SIZE", "8");
        let output = finish(&mut command);
        testkit::same_lines(&expected, &own.join("predictions"));
        let log = log(&output);
        assert!(
            log.contains("not all spans have reached the collector") && log.contains("exported=0"),
            "{what}: {log}"
        );
        // Of a request without an answer nobody knows what became of it.
        let fails = log.matches("spans cannot be sent").count();
        assert!(fails == 1 || what == "silent", "{what}: {log}");
    }
}

#[test]
fn what_the_environment_says_counts_and_a_flag_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Collector::start(Manner::Take), Collector::start(Manner::Take));
    let run = |command: &mut Command| drop(finish(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &one.url)));
    let small = || {
        let mut command = example("iot_window");
        command.args(["--machines", "10", "--seconds", "20"]);
        command
    };
    run(small().env("OTEL_SDK_DISABLED", "true"));
    run(small().env("OTEL_TRACES_SAMPLER", "always_off"));
    assert!(one.spans().is_empty());
    run(&mut job(&other.url, folder.path()));
    assert!(one.spans().is_empty() && !other.spans().is_empty());
    run(small().env("OTEL_SERVICE_NAME", "fleet"));
    assert_eq!(one.spans()[0].resource["service.name"], "fleet");
}

#[test]
fn an_endpoint_that_cannot_work_is_refused_before_the_first_record() {
    for (url, protocol, says) in [
        ("localhost:4318", "", "otlp_endpoint is no URL"),
        ("http://localhost:4317", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ] {
        let mut command = example("iot_window");
        let errors = fail_with(2, command.args(["--otlp-endpoint", url]).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        assert!(errors.contains(says) && errors.contains("hint: --otlp-endpoint"), "{errors}");
    }
}
