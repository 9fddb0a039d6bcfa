//! The alerts: the one list that the rules, their tests and the page of alerts are held to.
//!
//! What the expressions have in common:
//! * They keep `job` and `instance`, by which Prometheus tells processes apart, and get `job_name`, Tidemill's name of
//!   the job, from `tidemill_job_info`.
//! * They ask only for metrics that are there, with 0, before anything goes wrong: `increase` does not see a counter
//!   that begins above 0.

mod alert;
mod checkpoints;
mod input;
mod job;
mod models;
mod process;
mod series;
mod time;

pub use alert::{Alert, Case, Severity};
pub use series::{INTERVAL, Series, healthy};

use crate::span::Times;

/// Alerts that are evaluated together.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    pub alerts: Vec<Alert>,
}

/// Returns all alerts.
#[must_use]
pub fn alerts(times: &Times) -> Vec<Group> {
    let group = |name, alerts| Group { name, alerts };
    vec![
        group("tidemill-job", job::alerts(times)),
        group("tidemill-checkpoints", checkpoints::alerts(times)),
        group("tidemill-time", time::alerts(times)),
        group("tidemill-input", input::alerts(times)),
        group("tidemill-models", models::alerts(times)),
        group("tidemill-process", process::alerts(times)),
    ]
}
