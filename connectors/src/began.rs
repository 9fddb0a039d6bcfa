//! How a run has begun, for errors about the output of another one.

use tidemill_engine::Epoch;

/// Returns what this run does with the epoch that it was restored from.
pub(crate) fn began(restored: Epoch) -> String {
    match restored.0 {
        0 => "this run starts anew".to_owned(),
        epoch => format!("this run goes on from epoch {epoch}"),
    }
}
