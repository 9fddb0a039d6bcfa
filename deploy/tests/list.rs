//! What alerts and panels ask for is compared with the engine's list and with running jobs, and the alerts with their
//! page.

use std::collections::BTreeSet;

use deploy::alerts::{Alert, alerts};
use deploy::dashboards::dashboards;
use deploy::families::families;
use deploy::promql::metrics;
use deploy::span::Times;
use deploy::{RUNBOOKS, families};
use rdkafka::mocking::MockCluster;
use testkit::page::ReferencePage;
use testkit::project;
use tidemill::metrics::FAMILIES;

use crate::causes::{self, Switch, append};

fn all_alerts() -> Vec<Alert> {
    alerts(&Times::usual()).into_iter().flat_map(|group| group.alerts).collect()
}

/// All expressions of alerts and panels.
fn expressions() -> Vec<String> {
    let panels = dashboards().into_iter().flat_map(|of| of.sections).flat_map(|section| section.panels);
    let of_panels = panels.flat_map(|panel| panel.queries).map(|query| query.expr);
    all_alerts().into_iter().map(|alert| alert.expr).chain(of_panels).collect()
}

#[test]
fn the_list_is_read_as_the_engine_has_it() {
    let read: Vec<_> = families().iter().map(|family| (family.name, family.kind.clone(), family.help)).collect();
    let is: Vec<_> =
        FAMILIES.iter().map(|family| (family.name, family.kind.as_str().to_owned(), family.help)).collect();
    assert_eq!(read, is);
}

/// An expression that groups or matches by a label that a metric does not have finds nothing, and says nothing.
#[test]
fn each_label_that_is_asked_for_is_one_of_its_metric() {
    let of_prometheus = ["job", "instance", "job_name", "le", "alertname", "alertstate"];
    for expression in expressions() {
        let labels: BTreeSet<&str> = metrics(&expression)
            .iter()
            .filter_map(|name| families::family_of(name))
            .filter_map(|family| FAMILIES.iter().find(|known| known.name == family.name))
            .flat_map(|family| family.labels)
            .copied()
            .collect();
        let grouped = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
        let grouped = grouped.flat_map(|list| list.split(", "));
        let matched = expression.split(['{', '}']).skip(1).step_by(2).flat_map(|matchers| matchers.split(','));
        let matched = matched.filter_map(|matcher| matcher.split(['=', '!']).next());
        for label in grouped.chain(matched) {
            assert!(labels.contains(label) || of_prometheus.contains(&label), "{label} in {expression}");
        }
    }
}

/// What only a job of several processes serves, once a stranger has knocked.
const ELSEWHERE: [&str; 1] = ["tidemill_mesh_refused_connections_total"];

#[test]
fn each_metric_that_is_asked_for_is_served_by_a_running_job() {
    let (kafka, broken) = (MockCluster::new(1).unwrap(), Switch::default());
    let (well, letters, reference) = (causes::well(), causes::letters(), causes::reference());
    let (served, topics) = (causes::served(&broken), causes::topics(&kafka));
    append(&letters, "no number");
    let has = |name: &'static str| move |text: &str| text.contains(&format!("\n{name}{{"));
    let mut text = well.until(|text| text.contains("stage=\"total\"") && has("tidemill_user_events_total")(text));
    let sample = "\ntidemill_checkpoint_disk_free_bytes ";
    let said: f64 = text.split_once(sample).unwrap().1.lines().next().unwrap().parse().unwrap();
    let system = rustix::fs::statvfs(well.scratch.path()).unwrap();
    let free = system.f_bavail as f64 * system.f_frsize as f64;
    assert!(said > free / 2.0 && said < free * 2.0, "{said} of {free}: other programs use the disk, too");
    text += &letters.until(has("tidemill_dead_letters_total"));
    text += &reference.until(has("tidemill_reference_rows"));
    text += &served.until(has("tidemill_model_server_calls_total"));
    text += &topics.until(has("tidemill_source_pending_records"));
    [well, letters, reference, served, topics].into_iter().for_each(|job| drop(job.end().unwrap()));
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let asked: BTreeSet<&str> = expressions()
        .iter()
        .flat_map(|expression| metrics(expression))
        .map(|name| families::family_of(&name).unwrap_or_else(|| panic!("{name} does not exist")).name)
        .collect();
    let missing: Vec<_> = asked.difference(&served).copied().collect();
    assert_eq!(missing, ELSEWHERE, "{text}");
}

#[test]
fn each_alert_has_its_part_of_the_page() {
    let page = ReferencePage::read(&project().join(RUNBOOKS));
    let rows: Vec<(String, String)> =
        page.rows(Some("All alerts")).iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let alerts = all_alerts();
    let expected: Vec<(String, String)> = alerts
        .iter()
        .map(|alert| {
            (format!("[`{0}`](#{1})", alert.name, alert.name.to_lowercase()), alert.severity.as_str().to_owned())
        })
        .collect();
    assert_eq!(rows, expected);
    let headings = page.headings();
    let of_alerts: Vec<_> = headings.iter().filter(|heading| heading.starts_with("Tidemill")).collect();
    assert_eq!(of_alerts, alerts.iter().map(|alert| alert.name).collect::<Vec<_>>());
    for alert in alerts {
        let part = page.section(Some(alert.name));
        for word in ["**Means.**", "**Look.**", "**Do.**"] {
            assert!(part.contains(word), "{}: {word} is missing", alert.name);
        }
    }
}
