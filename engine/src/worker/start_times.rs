//! How long each part of a start took, for the log: where a restart is slow, the line says which part.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidemill_state::{StartPart, locks};

use crate::threads;
use crate::time::Epoch;

/// The times of the parts of one start of a process. The first worker of the process marks the ends of its parts.
#[derive(Debug)]
pub(crate) struct StartTimes(Mutex<Marks>);

#[derive(Debug)]
struct Marks {
    begun: Instant,
    /// End of the part that ended last.
    last: Instant,
    /// The parts in the order in which they first ended, each with its time.
    parts: Vec<(&'static str, Duration)>,
    /// Whether the first commit was logged.
    committed: bool,
}

impl StartTimes {
    /// Begins the first part.
    pub(crate) fn begin() -> Self {
        let now = threads::now();
        Self(Mutex::new(Marks { begun: now, last: now, parts: Vec::new(), committed: false }))
    }

    /// Ends a part, and begins the next one. A part may end several times: its times are added.
    pub(crate) fn end(&self, part: &'static str) {
        let (mut marks, now) = (locks::lock(&self.0), threads::now());
        let took = now.saturating_duration_since(std::mem::replace(&mut marks.last, now));
        match marks.parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, time)) => *time += took,
            None => marks.parts.push((part, took)),
        }
    }

    /// Ends a part of the opening of state.
    pub(crate) fn end_of_state(&self, part: StartPart) {
        self.end(match part {
            StartPart::Base => "base",
            StartPart::Deltas => "deltas",
            StartPart::Tables => "tables",
            StartPart::Other => "graph",
        });
    }

    /// Logs that sources begin to read.
    pub(crate) fn log_begin(&self, restored: Epoch) {
        let marks = locks::lock(&self.0);
        let (all, parts) = (seconds(threads::since(marks.begun)), marks.text());
        match restored.0 {
            0 => tracing::info!("started in {all} s: {parts}"),
            epoch => tracing::info!("restored epoch {epoch} in {all} s: {parts}"),
        }
    }

    /// Logs that the last rows of a large state have been loaded, while the job ran.
    pub(crate) fn log_loaded(&self) {
        let all = seconds(threads::since(locks::lock(&self.0).begun));
        tracing::info!("all restored state is loaded, {all} s after the start");
    }

    /// Logs the first commit of this run.
    pub(crate) fn log_first_commit(&self, epoch: Epoch) {
        let mut marks = locks::lock(&self.0);
        if !std::mem::replace(&mut marks.committed, true) {
            let all = seconds(threads::since(marks.begun));
            tracing::info!("epoch {epoch} is the first that this run has committed, {all} s after its start");
        }
    }
}

impl Marks {
    fn text(&self) -> String {
        let mut text = String::new();
        for (part, time) in &self.parts {
            let comma = if text.is_empty() { "" } else { ", " };
            _ = write!(text, "{comma}{part} {}", seconds(*time));
        }
        text
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_ends_twice_is_named_once() {
        let times = StartTimes::begin();
        times.end("folder");
        times.end_of_state(StartPart::Tables);
        times.end_of_state(StartPart::Other);
        times.end_of_state(StartPart::Tables);
        let text = locks::lock(&times.0).text();
        let parts: Vec<&str> = text.split(", ").filter_map(|part| part.split(' ').next()).collect();
        assert_eq!(parts, ["folder", "tables", "graph"], "{text}");
    }
}
