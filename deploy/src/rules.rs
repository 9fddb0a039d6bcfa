//! The file of rules.

use crate::alerts::{Alert, Group};
use crate::span::{Span, Times};
use crate::yaml::{Node, file as yaml, map, plain, text};

/// Where the page of alerts is.
#[derive(Clone, Debug)]
pub struct Runbooks(pub String);

impl Runbooks {
    /// The address of what to do about an alert.
    #[must_use]
    pub fn of(&self, alert: &str) -> String {
        format!("{}#{}", self.0, alert.to_lowercase())
    }
}

const COMMENT: &str = "Alerts of Tidemill's jobs. `cargo xtask deploy` writes this file; what each alert means and what to do is in\n\
                       docs/operate/alerts.md. Load it with `rule_files` of prometheus.yml.";

/// Returns the text of the file of rules.
#[must_use]
pub fn file(groups: &[Group], times: &Times, runbooks: &Runbooks) -> String {
    let rule = |alert: &Alert| {
        let mut rule = vec![("alert", text(alert.name)), ("expr", text(&alert.expr))];
        if alert.hold > Span::ZERO {
            rule.push(("for", plain(alert.hold)));
        }
        rule.push(("labels", map([("severity", plain(alert.severity.as_str()))])));
        let annotations = [("summary", text(alert.summary)), ("runbook_url", text(runbooks.of(alert.name)))];
        rule.push(("annotations", map(annotations)));
        map(rule)
    };
    let group = |group: &Group| {
        map([
            ("name", plain(group.name)),
            ("interval", plain(times.secs(30))),
            ("rules", Node::List(group.alerts.iter().map(rule).collect())),
        ])
    };
    yaml(COMMENT, &map([("groups", Node::List(groups.iter().map(group).collect()))]))
}
