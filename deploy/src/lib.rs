//! The alerts and dashboards for Prometheus and Grafana, as data, and the files that are made of them.
//!
//! ```text
//! families   the metrics that exist: the engine's own list, read at compile time
//! alerts/    one list of alerts, each with its expression and with series on which it fires
//! rules, cases, yaml   the rules, and their tests for `promtool test rules`
//! dashboards/          the dashboards, of panels that say what they ask and in which unit
//! promql, span         names in an expression; lengths of time
//! ```
//! `cargo xtask deploy` writes the files. It is a crate of its own so that tests of running jobs can make the same
//! files with other lengths of time; it does not compile the engine, because `cargo xtask` must start fast.

#![allow(missing_docs, reason = "it is not published, and read beside the tests that use it")]

pub mod alerts;
mod cases;
pub mod dashboards;
pub mod families;
pub mod promql;
pub mod rules;
pub mod span;
#[cfg(test)]
mod tests;
mod yaml;

use alerts::alerts;
use rules::Runbooks;
use span::Times;

/// The page of the alerts, from the project's folder. Each alert is a heading of it.
pub const RUNBOOKS: &str = "docs/operate/alerts.md";

/// Returns all files, each with its path below the folder `deploy`.
#[must_use]
pub fn files(runbooks: &Runbooks) -> Vec<(String, String)> {
    let times = Times::usual();
    let alerts = alerts(&times);
    let mut files = vec![
        ("prometheus/tidemill.rules.yml".to_owned(), rules::file(&alerts, &times, runbooks)),
        ("prometheus/tidemill.rules.test.yml".to_owned(), cases::file(&alerts, &times, runbooks)),
    ];
    for dashboard in dashboards::dashboards() {
        files.push((format!("grafana/{}.json", dashboard.uid), dashboard.json()));
    }
    files
}
