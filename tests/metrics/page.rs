//! The page of metrics is compared with the list of families, and with what a running job serves. Which of the metrics
//! that operators register have families is compared in `xtask/src/pages.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use testkit::page::{ReferencePage, code_of};
use testkit::project;
use tidemill::metrics::FAMILIES;

use super::{Running, sum};

fn page() -> ReferencePage {
    ReferencePage::read(&project().join("docs/operate/metrics.md"))
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

/// What a job of one process that was started anew, without a limit, a collector of spans and faults, does not have.
const RARE: [&str; 9] = [
    "tidemill_spans_total",
    "tidemill_mesh_refused_connections_total",
    "tidemill_state_limit_bytes",
    "tidemill_restored_epoch",
    "tidemill_dead_letters_total",
    "mesh_refused",
    "details",
    "partitions",
    "user_counters",
];

#[test]
fn the_page_of_metrics_has_each_family_with_its_type_its_labels_and_its_help() {
    let page = page();
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
    let running = Running::start();
    running.write(2000);
    let text =
        running.until("/metrics", |_, text| sum(text, "tidemill_latency_seconds_count", "stage=\"total\"") > 0.0);
    let status: Json = serde_json::from_str(&running.until("/status", |status, _| status == 200)).unwrap();
    running.end();
    let (page, served) = (page(), metrics_in(&text));
    let documented: BTreeMap<_, _> =
        headings_of_metrics(&page).iter().flat_map(|heading| metrics(&page, heading)).collect();
    for (name, form) in &served {
        assert_eq!(documented.get(name), Some(form), "metrics.md, {name}");
    }
    for heading in [
        "Metrics of a process",
        "Metrics of RocksDB",
        "Metrics of the operating system",
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
