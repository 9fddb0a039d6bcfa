//! The log of ONNX Runtime, without repetitions.
//!
//! ONNX Runtime repeats a warning with every batch. It also logs an error for every failed run, although the result of
//! the run has the same error, which the ladder handles and counts. So a warning is logged once per model and place in
//! the source of ONNX Runtime, and errors of runs are logged at debug level. Known limit: messages that differ only in
//! their numbers count as the same.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use tidemill_engine::locks::lock;

use ort::logging::{LogLevel, LoggerFunction};
use tracing::Level;

/// The tag of runs. Messages of runs have it after the session's name.
pub(super) const RUN: &str = "run";
/// Maximum number of different messages that are remembered. Beyond it, no more warnings are logged.
const MOST: usize = 1000;
/// Maximum number of messages that are kept from before the log was set up.
const WAITING: usize = 32;

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// The message is to be logged.
    New(Level),
    /// The message was logged before.
    Again,
}

#[derive(Default)]
struct Said {
    /// Hashes of the messages that were logged or are waiting.
    seen: HashSet<u64>,
    /// Messages from before the log was set up: a model is usually loaded before the job starts.
    waiting: VecDeque<(Level, String, String)>,
}

static SAID: LazyLock<Mutex<Said>> = LazyLock::new(Mutex::default);

impl Said {
    fn hear(&mut self, level: LogLevel, id: &str, location: &str, message: &str) -> Heard {
        let of_a_run = id.strip_suffix(RUN).is_some_and(|session| session.is_empty() || session.ends_with(':'));
        let level = match level {
            LogLevel::Verbose => return Heard::New(Level::TRACE),
            LogLevel::Info => return Heard::New(Level::DEBUG),
            LogLevel::Error if of_a_run => return Heard::New(Level::DEBUG),
            LogLevel::Warning => Level::WARN,
            LogLevel::Error | LogLevel::Fatal => Level::ERROR,
        };
        let session = id.strip_suffix(RUN).map_or(id, |session| session.trim_end_matches(':'));
        let mut hasher = DefaultHasher::new();
        (session, location).hash(&mut hasher);
        message
            .split(|c: char| c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .for_each(|part| part.hash(&mut hasher));
        let is_new = self.seen.len() < MOST && self.seen.insert(hasher.finish());
        if is_new { Heard::New(level) } else { Heard::Again }
    }
}

fn said() -> MutexGuard<'static, Said> {
    lock(&SAID)
}

/// Returns the function that receives the log messages of ONNX Runtime.
pub(super) fn logger() -> LoggerFunction {
    Arc::new(|level, _category, id, location, message| {
        let heard = said().hear(level, id, location, message);
        let Heard::New(level) = heard else { return };
        let text = format!("{message} ({location})");
        if level <= Level::WARN && !tracing::enabled!(target: "ort", Level::ERROR) {
            let waiting = &mut said().waiting;
            waiting.truncate(WAITING - 1);
            waiting.push_back((level, id.to_owned(), text));
        } else {
            say(level, id, &text);
        }
    })
}

/// Logs the messages from before the log was set up.
pub(super) fn catch_up() {
    if tracing::enabled!(target: "ort", Level::ERROR) {
        let waiting = std::mem::take(&mut said().waiting);
        waiting.iter().for_each(|(level, id, text)| say(*level, id, text));
    }
}

fn say(level: Level, model: &str, text: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "ort", model, "{text}"),
        Level::WARN => tracing::warn!(target: "ort", model, "{text}"),
        Level::TRACE => tracing::trace!(target: "ort", model, "{text}"),
        _ => tracing::debug!(target: "ort", model, "{text}"),
    }
}

/// Returns the lowest level that ONNX Runtime is to log, because each message costs a call.
pub(super) fn level() -> LogLevel {
    if tracing::enabled!(target: "ort", Level::TRACE) {
        LogLevel::Verbose
    } else if tracing::enabled!(target: "ort", Level::DEBUG) {
        LogLevel::Info
    } else {
        LogLevel::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_out_once_for_a_model_and_errors_of_runs_do_not() {
        let mut said = Said::default();
        let shape =
            |rows: usize| format!("Expected shape from model of {{1}} does not match actual shape of {{{rows}}}");
        assert_eq!(said.hear(LogLevel::Warning, "a.onnx", "frame.cc:1", &shape(64)), Heard::New(Level::WARN));
        for (rows, id) in [(64, "a.onnx"), (7, "a.onnx"), (128, "a.onnx:run")] {
            assert_eq!(said.hear(LogLevel::Warning, id, "frame.cc:1", &shape(rows)), Heard::Again);
        }
        assert_eq!(said.hear(LogLevel::Warning, "b.onnx", "frame.cc:1", &shape(64)), Heard::New(Level::WARN));
        assert_eq!(said.hear(LogLevel::Warning, "a.onnx", "frame.cc:1", "another"), Heard::New(Level::WARN));
        assert_eq!(said.hear(LogLevel::Error, "a.onnx:run", "executor.cc:2", "no"), Heard::New(Level::DEBUG));
        assert_eq!(said.hear(LogLevel::Error, "a.onnx", "executor.cc:2", "no"), Heard::New(Level::ERROR));
        assert_eq!(said.hear(LogLevel::Error, "overrun", "executor.cc:2", "no"), Heard::New(Level::ERROR));
        for more in 0..2 * MOST {
            said.hear(LogLevel::Warning, &format!("{more:?}.onnx"), "frame.cc:1", "x");
        }
        assert_eq!(said.seen.len(), MOST);
    }
}
