//! The reference pages in `docs/operate` are compared with what a program knows of itself: its flags, the defaults of
//! its settings, and the metrics of a running job. What the sources alone say is compared in `xtask/src/pages.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use serde::Serialize;
use serde_json::{Value as Json, json};
use testkit::page::{ReferencePage, code_of};
use testkit::project;
use tidemill::infer::SessionSettings;
use tidemill::infer::server::{CircuitSettings, ServerSettings};
use tidemill::job::JobSetup;
use tidemill::metrics::FAMILIES;
use tidemill::prelude::*;
use tidemill::testing::SimulationSettings;

fn page(name: &str) -> ReferencePage {
    ReferencePage::read(&project().join("docs/operate").join(name))
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    job: JobArgs,
}

/// The first sentence of a text.
fn sentence(text: &str) -> &str {
    text.split(". ").next().unwrap_or_default().trim_end_matches('.')
}

#[test]
fn the_page_of_flags_has_each_flag_with_its_value_its_default_and_its_help() {
    let job = Program::parse_from(["program"]).job;
    let settings = serde_json::to_value(&job.settings).unwrap();
    let command = Program::command();
    let mut flags = BTreeMap::new();
    for arg in command.get_arguments() {
        let name = arg.get_long().unwrap_or_default();
        let value = arg.get_value_names().unwrap_or_default().join(" ");
        let default = arg.get_default_values().first().map_or("–".into(), |value| value.to_string_lossy());
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let field = name.replace('-', "_");
        assert!(settings.get(&field).is_some() || name == "log-level", "{field} is no setting");
        flags.insert(format!("--{name}"), (value, default.into_owned(), help));
    }
    for row in page("flags.md").rows(Some("Flags of a job")) {
        let [flag, value, default, text] = &row[..] else { panic!("{row:?}") };
        let flag = code_of(flag);
        let (expected, expected_default, help) = flags.remove(flag).unwrap_or_else(|| panic!("there is no {flag}"));
        assert_eq!((code_of(value), code_of(default)), (expected.as_str(), expected_default.as_str()), "{flag}");
        assert!(text.starts_with(sentence(&help)), "{flag}: \"{text}\" does not begin as its help does: \"{help}\"");
    }
    assert!(flags.is_empty(), "flags.md lacks {:?}", flags.keys());
}

/// Compares the defaults of a type with those of its table. A nested type is a link to its own table.
fn defaults_are<S: Default + Serialize>(page: &ReferencePage, name: &str) {
    let Json::Object(mut defaults) = serde_json::to_value(S::default()).unwrap() else { panic!("{name} is no struct") };
    for row in page.rows(Some(name)) {
        let (field, documented) = (code_of(&row[0]), &row[2]);
        let default = defaults.remove(field).unwrap_or_else(|| panic!("{name} has no field {field}"));
        if documented.starts_with('[') {
            assert_eq!(
                *documented,
                format!("[{0}](#{1})", code_of(&row[1]), code_of(&row[1]).to_lowercase()),
                "{name}.{field}"
            );
        } else {
            let documented: Json = serde_json::from_str(code_of(documented))
                .unwrap_or_else(|e| panic!("{name}.{field}: {e}: {documented}"));
            assert_eq!(documented, default, "{name}.{field}");
        }
    }
    assert!(defaults.is_empty(), "settings.md, {name}, lacks {defaults:?}");
}

#[test]
fn the_page_of_settings_has_the_default_of_each_field() {
    let page = page("settings.md");
    defaults_are::<JobSettings>(&page, "JobSettings");
    defaults_are::<InferSettings>(&page, "InferSettings");
    defaults_are::<PoolSettings>(&page, "PoolSettings");
    defaults_are::<SessionSettings>(&page, "SessionSettings");
    defaults_are::<ServerSettings>(&page, "ServerSettings");
    defaults_are::<CircuitSettings>(&page, "CircuitSettings");
    defaults_are::<LookupSettings>(&page, "LookupSettings");
    defaults_are::<FetchSettings>(&page, "FetchSettings");
    defaults_are::<SimulationSettings>(&page, "SimulationSettings");
    let providers = json!(["cpu", { "cuda": { "device": 0 } }, { "tensorrt": { "device": 0 } }, { "openvino": { "device": "GPU" } }]);
    serde_json::from_value::<SessionSettings>(json!({ "providers": providers })).unwrap();
}

/// The example has each field, with another value than its default, and can work.
#[test]
fn the_example_on_the_page_of_settings_is_a_job() {
    let text = page("settings.md").code(Some("A file of settings"), "json");
    let settings: JobSettings = serde_json::from_str(&text).unwrap();
    settings.check().unwrap();
    let (written, all): (Json, Json) = (serde_json::from_str(&text).unwrap(), serde_json::to_value(&settings).unwrap());
    assert_eq!(written, all);
    let defaults = serde_json::to_value(JobSettings::default()).unwrap();
    for (field, value) in all.as_object().unwrap() {
        assert_ne!(*value, defaults[field], "{field}");
    }
}

/// Reads a page of the job at `address`; `None` while nothing is served.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    ureq::get(&format!("http://{address}/{path}")).call().ok()?.body_mut().read_to_string().ok()
}

#[expect(clippy::disallowed_methods, reason = "the test looks at a running job from outside")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Runs a job that has a source of files, a window, a lookup and a sink, until an epoch with output is committed.
/// Returns `/metrics` and `/status`.
fn watched() -> (String, Json) {
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (scratch.path().join("numbers.jsonl"), scratch.path().join("out"));
    std::fs::write(&input, (0..2000).map(|n| format!("{n}\n")).collect::<String>()).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = JobSettings {
        http: Some(address),
        checkpoint_dir: Some(scratch.path().join("checkpoints")),
        checkpoint_interval: millis(50),
        max_ahead: Some(hours(1)),
        ..JobSettings::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let job = std::thread::spawn(move || {
        let (numbers, sink) =
            (FileSource::new([input], |n: &i64| EventTime(*n)).follow(), FileSink::json_lines(output));
        Job::new("watched", setup).run(move |flow| {
            let rows = |keys: &[u64]| Ok::<_, std::fmt::Error>(keys.iter().map(|key| Some(key + 1)).collect());
            flow.source("numbers", &numbers)?
                .key_by(|n| n % 7)
                .window("tens", Assigner::tumbling(millis(10)))
                .aggregate(counting())?
                .results
                .map(|window| window.value)
                .lookup_join("names", &LookupSettings::default(), |count: &u64| *count, rows)?
                .sink("out", &sink)
        })
    });
    let visible = |status: &Json| {
        let operators = status["operators"].as_array().into_iter().flatten();
        operators
            .into_iter()
            .any(|operator| operator["distributions"]["visible_latency_us"]["count"].as_u64() > Some(0))
    };
    let read = || {
        let status: Json = serde_json::from_str(&get(address, "status")?).unwrap();
        Some((get(address, "metrics")?, status)).filter(|(_, status)| visible(status))
    };
    let seen = loop {
        match read() {
            Some(seen) => break seen,
            None => assert!(!job.is_finished(), "{:?}", job.join()),
        }
        wait(millis(20));
    };
    stop.store(true, Ordering::Relaxed);
    job.join().unwrap().unwrap();
    seen
}

/// The metrics below a heading: each with its type and its labels.
fn metrics(page: &ReferencePage, heading: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let labels = |cell: &str| {
        cell.split(", ").filter(|label| !label.is_empty()).map(|label| code_of(label).to_owned()).collect()
    };
    page.rows(Some(heading))
        .iter()
        .map(|row| (code_of(&row[0]).to_owned(), (row[1].clone(), labels(&row[2]))))
        .collect()
}

fn headings_of_metrics(page: &ReferencePage) -> Vec<String> {
    page.headings().into_iter().filter(|heading| heading.starts_with("Metrics of ")).collect()
}

/// The metrics of a text, in the same form. The samples of a histogram are those of its name.
fn metrics_in(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let (mut name, mut kind, mut found) = ("", "", BTreeMap::new());
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            (name, kind) = described.split_once(' ').unwrap();
            assert!(!found.contains_key(name), "{name} is there twice");
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (sample, labels) = sample.trim_end_matches('}').split_once('{').unwrap_or((sample, ""));
            assert!(sample.starts_with(name) && (kind == "histogram" || sample == name), "{line} is not of {name}");
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let labels: Vec<String> = labels.filter(|label| label != "le").collect();
            let (_, known) = found.entry(name.to_owned()).or_insert_with(|| (kind.to_owned(), labels.clone()));
            assert_eq!(*known, labels, "{line}");
        }
    }
    found
}

fn keys(of: &Json) -> BTreeSet<String> {
    of.as_object().unwrap_or_else(|| panic!("{of} is no object")).keys().cloned().collect()
}

/// What a job of one process that was started anew, without a limit and without faults, does not have.
const RARE: [&str; 6] = [
    "tidemill_mesh_refused_connections_total",
    "tidemill_state_limit_bytes",
    "tidemill_restored_epoch",
    "tidemill_dead_letters_total",
    "mesh_refused",
    "details",
];

#[test]
fn the_page_of_metrics_has_each_family_with_its_type_its_labels_and_its_help() {
    let page = page("metrics.md");
    let headings = headings_of_metrics(&page);
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in headings.iter().flat_map(|heading| page.rows(Some(heading))) {
        assert_eq!(rows.insert(code_of(&row[0]).to_owned(), row.clone()), None);
    }
    for family in FAMILIES {
        let row = rows.remove(family.name).unwrap_or_else(|| panic!("metrics.md lacks {}", family.name));
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        assert_eq!((row[1].as_str(), &row[2]), (family.kind.as_str(), &labels), "{}", family.name);
        assert!(row[3].starts_with(family.help), "{}: {} does not begin with {}", family.name, row[3], family.help);
    }
    assert!(rows.is_empty(), "there is no {:?}", rows.keys());
}

#[test]
fn the_page_of_metrics_has_what_a_running_job_serves() {
    let (text, status) = watched();
    let (page, served) = (page("metrics.md"), metrics_in(&text));
    let documented: BTreeMap<_, _> =
        headings_of_metrics(&page).iter().flat_map(|heading| metrics(&page, heading)).collect();
    for (name, form) in &served {
        assert_eq!(documented.get(name), Some(form), "metrics.md, {name}");
    }
    for heading in [
        "Metrics of a process",
        "Metrics of checkpoints",
        "Metrics of all operators",
        "Metrics of latency and of sinks",
    ] {
        let missing =
            metrics(&page, heading).into_keys().find(|name| !served.contains_key(name) && !RARE.contains(&&**name));
        assert_eq!(missing, None, "{heading}");
    }
    let operator = &status["operators"][0];
    for (heading, object) in [
        ("Fields of /status", &status),
        ("Fields of an operator in /status", operator),
        ("Fields of a worker in /status", &operator["per_worker"][0]),
        ("Fields of percentiles in /status", &status["checkpoint_us"]),
    ] {
        let fields = page.rows(Some(heading)).iter().map(|row| code_of(&row[0]).to_owned()).collect::<BTreeSet<_>>();
        let fields: BTreeSet<String> = fields.into_iter().filter(|field| !RARE.contains(&&**field)).collect();
        assert_eq!(keys(object), fields, "{heading}");
    }
    let kinds = page.section(Some("How names are made"));
    for operator in status["operators"].as_array().unwrap() {
        let kind = operator["kind"].as_str().unwrap();
        assert!(kinds.contains(&format!("`{kind}`")), "metrics.md does not name the kind {kind}");
    }
}
