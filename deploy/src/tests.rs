//! The files by Prometheus' own tool, and the dashboards by what Grafana asks of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use testkit::prometheus::promtool;

use super::*;
use crate::dashboards::{Unit, dashboards};
use crate::families::family_of;

fn project() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().unwrap().to_owned()
}

/// Writes all files into a folder, and gives the arguments to promtool there.
fn promtool_on_files(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files(&Runbooks(RUNBOOKS.to_owned())) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    promtool(&project(), &folder.path().join("prometheus"), arguments)
}

#[test]
fn prometheus_takes_the_rules() {
    let count: usize = alerts(&Times::usual()).iter().map(|group| group.alerts.len()).sum();
    let said = promtool_on_files(&["check", "rules", "tidemill.rules.yml"]);
    assert!(said.contains(&format!("SUCCESS: {count} rules found")), "{said}");
}

#[test]
fn each_alert_fires_on_its_series_and_none_on_those_of_a_healthy_job() {
    let said = promtool_on_files(&["test", "rules", "tidemill.rules.test.yml"]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn each_alert_has_a_name_of_its_own_and_series_on_which_it_fires() {
    let groups = alerts(&Times::usual());
    let all: Vec<_> = groups.iter().flat_map(|group| &group.alerts).collect();
    let names: BTreeSet<&str> = all.iter().map(|alert| alert.name).collect();
    assert_eq!(names.len(), all.len());
    for alert in all {
        assert!(alert.name.starts_with("Tidemill") && !alert.fires.is_empty(), "{}", alert.name);
        assert!(alert.summary.contains("{{ $labels.job_name }}"), "{}: {}", alert.name, alert.summary);
    }
}

#[test]
fn each_metric_of_an_alert_or_a_panel_exists() {
    let rules = alerts(&Times::usual());
    let of_alerts = rules.iter().flat_map(|group| &group.alerts).map(|alert| (alert.name, alert.expr.clone()));
    let dashboards = dashboards();
    let panels = dashboards.iter().flat_map(|of| &of.sections).flat_map(|section| &section.panels);
    let of_panels = panels.flat_map(|panel| panel.queries.iter().map(|query| (panel.title, query.expr.clone())));
    for (place, expr) in of_alerts.chain(of_panels) {
        let metrics = promql::metrics(&expr);
        assert!(!metrics.is_empty() || expr.starts_with("ALERTS"), "{place}: {expr}");
        for metric in metrics {
            assert!(family_of(&metric).is_some(), "{place} asks for {metric}, which does not exist");
        }
    }
}

/// A metric says its unit in its name: a panel that shows it in another one shows something wrong.
#[test]
fn each_panel_has_the_unit_of_its_metrics() {
    let dashboards = dashboards();
    for panel in dashboards.iter().flat_map(|of| &of.sections).flat_map(|section| &section.panels) {
        for query in &panel.queries {
            let expr = &query.expr;
            let (is_rate, is_ratio) = (expr.contains("rate("), expr.contains("/ on"));
            let of_time =
                |name: &String| name.trim_end_matches("_total").trim_end_matches("_bucket").ends_with("_seconds");
            let seconds = promql::metrics(expr).iter().any(of_time);
            let bytes = promql::metrics(expr).iter().any(|name| name.trim_end_matches("_total").ends_with("_bytes"));
            let counts_time = expr.contains("_seconds_total{");
            let fits = match panel.unit {
                Unit::Seconds => seconds && (!counts_time || is_ratio),
                Unit::Bytes => bytes && !is_rate,
                Unit::BytesPerSecond => bytes && is_rate,
                Unit::Share => counts_time && is_rate,
                Unit::RecordsPerSecond => is_rate && !bytes && !seconds && expr.contains("records_"),
                Unit::PerSecond => is_rate && !bytes && !seconds,
                Unit::Count => !bytes && (!seconds || expr.contains("process_cpu_seconds_total")),
            };
            assert!(fits, "{} shows {expr} as {:?}", panel.title, panel.unit);
        }
    }
}

/// Each query is a rule to Prometheus, which parses it as Grafana's data source will.
#[test]
fn prometheus_parses_each_query_of_a_dashboard() {
    let mut rules = Vec::new();
    for dashboard in dashboards() {
        for panel in dashboard.value()["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
                rules.push(yaml::map([
                    ("record", yaml::plain(format!("r{}", rules.len()))),
                    ("expr", yaml::text(expr)),
                ]));
            }
        }
        let marks = dashboard.value()["annotations"]["list"][1]["expr"].as_str().unwrap().to_owned();
        rules.push(yaml::map([("record", yaml::plain(format!("r{}", rules.len()))), ("expr", yaml::text(marks))]));
    }
    assert!(rules.len() > 80, "{}", rules.len());
    let group = yaml::map([("name", yaml::plain("panels")), ("rules", yaml::Node::List(rules))]);
    let folder = tempfile::tempdir().unwrap();
    let file = yaml::file("", &yaml::map([("groups", yaml::Node::List(vec![group]))]));
    std::fs::write(folder.path().join("panels.yml"), file).unwrap();
    let said = promtool(&project(), folder.path(), &["check", "rules", "panels.yml"]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn each_dashboard_has_the_form_that_grafana_loads() {
    let uids: BTreeSet<&str> = dashboards().iter().map(|dashboard| dashboard.uid).collect();
    assert_eq!(uids.len(), dashboards().len());
    for dashboard in dashboards() {
        let json: Json = serde_json::from_str(&dashboard.json()).unwrap();
        assert!(json["uid"].as_str().unwrap().len() <= 40 && json["id"].is_null(), "{}", dashboard.uid);
        assert!(json["schemaVersion"].as_u64().unwrap() >= 36);
        let variables = json["templating"]["list"].as_array().unwrap();
        assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
        let known: BTreeSet<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        let panels = json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{}", dashboard.uid);
        panels.iter().for_each(|panel| looks_right(panel, &known));
        for (at, panel) in panels.iter().enumerate() {
            for other in &panels[..at] {
                assert!(!overlap(panel, other), "{} is over {}", panel["title"], other["title"]);
            }
        }
    }
}

fn looks_right(panel: &Json, variables: &BTreeSet<&str>) {
    let title = panel["title"].as_str().unwrap();
    if panel["type"] == "row" {
        return;
    }
    assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title} has no unit");
    assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} says nothing of its metrics");
    let targets = panel["targets"].as_array().unwrap();
    let refs: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
    assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}");
    for target in targets {
        let expr = target["expr"].as_str().unwrap();
        for variable in expr.split('$').skip(1) {
            let name = variable.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(variables.contains(name) || name == "__rate_interval", "{title} names ${name}: {expr}");
        }
        assert!(expr.contains("$instance") || expr.starts_with("ALERTS"), "{title} is of all jobs: {expr}");
        // A legend names labels that the expression keeps.
        for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
            let label = label.split("}}").next().unwrap();
            let kept = expr.split("by (").skip(1).filter_map(|by| by.split(')').next());
            assert!(kept.flat_map(|by| by.split(", ")).any(|by| by == label), "{title} has no {label}: {expr}");
        }
    }
}

fn overlap(a: &Json, b: &Json) -> bool {
    let at = |panel: &Json, name: &str| panel["gridPos"][name].as_u64().unwrap();
    let apart = |start: &str, size: &str| {
        at(a, start) + at(a, size) <= at(b, start) || at(b, start) + at(b, size) <= at(a, start)
    };
    assert!(at(a, "x") + at(a, "w") <= 24, "{}", a["title"]);
    !apart("x", "w") && !apart("y", "h")
}
