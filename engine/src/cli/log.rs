//! The log of a job that was started from a command line: lines on stderr, of text or of JSON, each with its place.

use std::fmt;
use std::io::IsTerminal;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
#[cfg(feature = "http")]
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::{JobError, Remedy};
use crate::place::Place;
#[cfg(feature = "http")]
use crate::warnings::Keeper;

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// Text for people, in colours on a terminal.
    #[default]
    Text,
    /// One JSON object a line, for programs that collect logs.
    Json,
}

/// Starts the log of this process on stderr.
pub(super) fn start(level: &str, format: LogFormat) -> Result<(), JobError> {
    let quiet = quietened(level);
    let filter = EnvFilter::try_new(quiet).map_err(|e| {
        JobError::setting(
            format!("log_level \"{level}\" is not a level or filter: {e}"),
            [Remedy::Setting("log_level")],
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => set(log.with_ansi(has_colours()).event_format(Placed(Format::default())).finish()),
        LogFormat::Json => {
            set(log.fmt_fields(JsonFields::new()).event_format(Placed(Format::default().json())).finish());
        }
    }
    Ok(())
}

/// Adds what libraries may log, unless the level says it of them: ONNX Runtime logs far too much at `info`, and the HTTP
/// client each byte that it sends at `trace`, with tokens and passwords.
fn quietened(level: &str) -> String {
    let quiet = [("ort=", "ort=warn,"), ("ureq=", "ureq=debug,")];
    quiet.iter().filter(|(of, _)| !level.contains(of)).map(|(_, quiet)| *quiet).chain([level]).collect()
}

/// Sets the subscriber of the process. One that exists stays: an earlier job of the process has set it, or the program.
fn set(subscriber: impl Subscriber + Send + Sync + 'static) {
    #[cfg(feature = "http")]
    if subscriber.with(Keeper).try_init().is_ok() {
        Keeper::begin();
    }
    #[cfg(not(feature = "http"))]
    drop(subscriber.try_init());
}

/// Returns whether people read stderr, and want colours (<https://no-color.org>).
fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// The lines of another format, and at the end of each one the place of its thread.
struct Placed<F>(F);

impl<S, N> FormatEvent<S, N> for Placed<Format<Full>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        let colours = to.has_ansi_escapes();
        self.0.clone().with_ansi(colours).format_event(context, Writer::new(&mut line), event)?;
        to.write_str(line.trim_end_matches('\n'))?;
        for (name, value) in Place::here().said() {
            // An event that names a worker or an operator of its own means that one.
            if event.metadata().fields().field(name).is_none() {
                write!(to, " {name}={value}")?;
            }
        }
        writeln!(to)
    }
}

impl<S, N> FormatEvent<S, N> for Placed<Format<Json>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // The line is an object that has members, so more of them may follow its last one.
        let object = line.trim_end_matches('\n');
        to.write_str(object.strip_suffix('}').ok_or(fmt::Error)?)?;
        for (name, value) in Place::here().said() {
            write!(to, ",\"{name}\":{value}")?;
        }
        writeln!(to, "}}")
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_bytes_that_the_http_client_sends_are_logged_only_if_it_is_named() {
        let of = |level: &str| {
            let filter = EnvFilter::try_new(quietened(level)).unwrap();
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
            tracing::subscriber::with_default(log, || {
                [
                    tracing::enabled!(target: "ureq::unversioned::transport", Level::TRACE),
                    tracing::enabled!(target: "ureq_proto::client", Level::TRACE),
                    tracing::enabled!(target: "ort::logging", Level::INFO),
                    tracing::enabled!(target: "tidemill_engine", Level::TRACE),
                ]
            })
        };
        assert_eq!(of("trace"), [false, false, false, true]);
        assert_eq!(of("trace,ureq=trace"), [true, true, false, true]);
        assert_eq!(of("ort=info,warn"), [false, false, true, false]);
    }
}
