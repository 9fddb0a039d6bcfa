//! `/api/v1/logs`: the last warnings and errors of this process.

use serde::Serialize;

#[cfg(feature = "cli")]
use crate::warnings;

#[derive(Serialize)]
pub(in crate::http) struct Logs {
    lines: Vec<Line>,
    /// Why there is none, when none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[cfg(feature = "cli")]
pub(in crate::http) type Line = warnings::Line;
/// Without a command line nothing keeps lines.
#[cfg(not(feature = "cli"))]
#[derive(Serialize)]
pub(in crate::http) enum Line {}

/// Returns the lines that came after the first `seen`, and how many there have been.
pub(in crate::http) fn since(seen: u64) -> Option<(Vec<Line>, u64)> {
    #[cfg(feature = "cli")]
    return warnings::since(seen);
    #[cfg(not(feature = "cli"))]
    return Some((Vec::new(), seen)).filter(|_| false);
}

pub(in crate::http) fn logs() -> Logs {
    match since(0) {
        Some((lines, _)) => Logs { lines, reason: None },
        None => Logs { lines: Vec::new(), reason: Some("the program has set up a log of its own") },
    }
}
