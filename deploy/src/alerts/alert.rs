//! What an alert is.

use super::series::{self, Series};
use crate::span::Span;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody is woken: results are wrong, missing or about to stop.
    Page,
    /// Somebody looks at it during the day.
    Ticket,
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// Series that differ from those of a healthy job from the first hour on, and why an alert fires on them or does not.
#[derive(Clone, Debug)]
pub struct Case {
    pub what: &'static str,
    pub series: Vec<Series>,
}

#[derive(Clone, Debug)]
pub struct Alert {
    pub name: &'static str,
    pub severity: Severity,
    /// What is wrong, with `{{ $labels.… }}` for its labels.
    pub summary: &'static str,
    pub expr: String,
    /// How long the expression has to hold before the alert fires.
    pub hold: Span,
    /// The labels of the alert in `fires`, besides its severity.
    pub labels: Vec<(&'static str, &'static str)>,
    pub fires: Vec<Case>,
    pub quiet: Vec<Case>,
}

/// The labels by which one operator of one process is told from others.
pub(super) const OPERATOR: &str = "job, instance, operator";
/// The same for a process.
pub(super) const PROCESS: &str = "job, instance";

impl Alert {
    /// Makes an alert of a process, whose series fire with the labels of the healthy job.
    pub(super) fn new(name: &'static str, severity: Severity, summary: &'static str, expr: &str, hold: Span) -> Self {
        Self {
            name,
            severity,
            summary,
            expr: named(expr, "tidemill_job_info"),
            hold,
            labels: vec![("job", series::JOB), ("instance", series::INSTANCE), ("job_name", series::JOB_NAME)],
            fires: Vec::new(),
            quiet: Vec::new(),
        }
    }

    /// The alert is of an operator, which is called so in the case in which it fires.
    pub(super) fn of(mut self, operator: &'static str) -> Self {
        self.labels.push(("operator", operator));
        self
    }

    pub(super) fn fires<const N: usize>(mut self, what: &'static str, series: [Series; N]) -> Self {
        self.fires.push(Case { what, series: series.into() });
        self
    }

    pub(super) fn quiet<const N: usize>(mut self, what: &'static str, series: [Series; N]) -> Self {
        self.quiet.push(Case { what, series: series.into() });
        self
    }
}

/// Returns the expression with the label `job_name`, which `info` has for each process.
pub(super) fn named(expr: &str, info: &str) -> String {
    let expr = expr.replace('\n', "\n  ");
    format!("(\n  {expr}\n)\n* on (job, instance) group_left (job_name)\nmax by (job, instance, job_name) ({info})")
}
