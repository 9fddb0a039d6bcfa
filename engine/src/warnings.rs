//! The last warnings and errors of the log, for the page: what a person looks for next.
//!
//! There is one log per process, so there is one such list. It is kept by the subscriber that the command line sets up
//! ([`JobArgs`](crate::JobArgs)); a program with a subscriber of its own has none.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, OnceLock};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::Clock;
use crate::locks::lock;
use crate::place::Place;

/// Number of lines that are kept.
const KEPT: usize = 200;
/// Longest text of a message or a field, in bytes.
const LONGEST: usize = 2048;

static LINES: OnceLock<Mutex<Lines>> = OnceLock::new();

#[derive(Default)]
struct Lines {
    kept: VecDeque<Line>,
    /// Number of lines that there have been.
    count: u64,
}

/// A line of the log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) time_ms: i64,
    pub(crate) level: &'static str,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

/// Returns the lines that came after the first `seen`, as far as they are kept, and how many there have been. `None` if
/// nothing keeps them.
pub(crate) fn since(seen: u64) -> Option<(Vec<Line>, u64)> {
    let lines = lock(LINES.get()?);
    let news = usize::try_from(lines.count.saturating_sub(seen)).unwrap_or(usize::MAX).min(lines.kept.len());
    Some((lines.kept.iter().skip(lines.kept.len() - news).cloned().collect(), lines.count))
}

/// Keeps the last warnings and errors of a subscriber.
pub(crate) struct Keeper;

impl Keeper {
    /// Begins to keep lines; called once the subscriber is in place.
    pub(crate) fn begin() {
        LINES.get_or_init(Mutex::default);
    }
}

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let Some(lines) = LINES.get().filter(|_| level <= Level::WARN) else { return };
        let mut line = Line {
            time_ms: Clock::system().processing_time().0,
            level: level.as_str(),
            target: event.metadata().target().to_owned(),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        for (name, value) in Place::here().said().filter(|(name, _)| *name != "job") {
            let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.fields.entry(name).or_insert_with(text);
        }
        let mut lines = lock(lines);
        if lines.kept.len() >= KEPT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
        lines.count += 1;
    }
}

impl Line {
    fn put(&mut self, field: &Field, mut text: String) {
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        match field.name() {
            "message" => self.message = text,
            name => _ = self.fields.insert(name, text),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_and_errors_are_kept_and_the_oldest_are_forgotten() {
        Keeper::begin();
        let log = || {
            let before = since(0).unwrap().1;
            tracing::info!("calm");
            tracing::warn!(operator = "score", late = 7, "most records are late");
            tracing::error!(content = "ä".repeat(LONGEST), "too long");
            since(before).unwrap()
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keeper), || {
            let (lines, count) = log();
            let [late, long] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(
                (late.level, &*late.message, &*late.fields["operator"]),
                ("WARN", "most records are late", "score")
            );
            assert_eq!(late.fields["late"], "7");
            assert_eq!(long.fields["content"].len(), LONGEST + "…".len());
            assert!(since(count).unwrap().0.is_empty());
            (0..KEPT).for_each(|_| drop(log()));
            assert_eq!(since(0).unwrap().0.len(), KEPT);
        });
    }
}
