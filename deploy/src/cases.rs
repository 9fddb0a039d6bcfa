//! The tests of the rules, for `promtool test rules`: each alert fires on its own series and on no others.

use crate::alerts::{Alert, Case, Group, INTERVAL, Series, healthy};
use crate::promql::metrics;
use crate::rules::Runbooks;
use crate::span::{Span, Times};
use crate::yaml::{Node, file as yaml, map, plain, text};

/// The series differ from those of a healthy job from the first hour on.
const BEFORE: &str = "59m";
const AFTER: &str = "119m";

const COMMENT: &str = "Tests of tidemill.rules.yml: `promtool test rules tidemill.rules.test.yml`. `cargo xtask deploy` writes this file.";

/// Returns the text of the file of tests.
pub fn file(groups: &[Group], times: &Times, runbooks: &Runbooks) -> String {
    let alerts: Vec<&Alert> = groups.iter().flat_map(|group| &group.alerts).collect();
    let nobody = |at: &str| alerts.iter().map(|alert| none(at, alert)).collect::<Vec<_>>();
    let mut tests = vec![test("a healthy job", healthy(), [nobody(BEFORE), nobody(AFTER)].concat())];
    for alert in &alerts {
        for (nth, case) in alert.fires.iter().enumerate() {
            let mut asked = vec![one(AFTER, alert, runbooks)];
            // Other cases may be such that the alert fires from the start.
            if nth == 0 {
                asked.insert(0, none(BEFORE, alert));
            }
            tests.push(of(alert, case, asked));
        }
        tests.extend(alert.quiet.iter().map(|case| of(alert, case, vec![none(AFTER, alert)])));
    }
    let content = map([
        ("rule_files", Node::List(vec![plain("tidemill.rules.yml")])),
        ("evaluation_interval", plain(times.mins(1))),
        ("tests", Node::List(tests)),
    ]);
    yaml(COMMENT, &content)
}

/// Returns a test of an alert with the series that its expression asks for.
fn of(alert: &Alert, case: &Case, asked: Vec<Node>) -> Node {
    let metrics = metrics(&alert.expr);
    let mut all = healthy();
    all.retain(|series| series.name.split('{').next().is_some_and(|metric| metrics.contains(metric)));
    for changed in &case.series {
        match all.iter_mut().find(|series| series.name == changed.name) {
            Some(series) => *series = changed.clone(),
            None => all.push(changed.clone()),
        }
    }
    test(&format!("{}: {}", alert.name, case.what), all, asked)
}

fn test(name: &str, series: Vec<Series>, asked: Vec<Node>) -> Node {
    let input = |Series { name, values }| map([("series", text(name)), ("values", text(values))]);
    map([
        ("name", text(name)),
        ("interval", plain(Span(std::time::Duration::from_secs(INTERVAL)))),
        ("input_series", Node::List(series.into_iter().map(input).collect())),
        ("alert_rule_test", Node::List(asked)),
    ])
}

fn none(at: &str, alert: &Alert) -> Node {
    map([("eval_time", plain(at)), ("alertname", plain(alert.name)), ("exp_alerts", Node::List(Vec::new()))])
}

fn one(at: &str, alert: &Alert, runbooks: &Runbooks) -> Node {
    let mut labels = vec![("severity", text(alert.severity.as_str()))];
    labels.extend(alert.labels.iter().map(|(name, value)| (*name, text(*value))));
    let mut summary = alert.summary.to_owned();
    for (name, value) in &alert.labels {
        summary = summary.replace(&format!("{{{{ $labels.{name} }}}}"), value);
    }
    let annotations = [("summary", text(summary)), ("runbook_url", text(runbooks.of(alert.name)))];
    let expected = map([("exp_labels", map(labels)), ("exp_annotations", map(annotations))]);
    map([("eval_time", plain(at)), ("alertname", plain(alert.name)), ("exp_alerts", Node::List(vec![expected]))])
}
