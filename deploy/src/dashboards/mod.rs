//! The dashboards for Grafana.

mod dashboard;
mod input_and_models;
mod job;
mod panel;
mod process;

pub use dashboard::{Dashboard, Section};
pub use panel::{Panel, Query, Unit};

/// Returns all dashboards.
#[must_use]
pub fn dashboards() -> Vec<Dashboard> {
    vec![job::dashboard(), input_and_models::dashboard(), process::dashboard()]
}
