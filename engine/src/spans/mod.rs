//! Spans: what took how long, for a collector of OpenTelemetry. They are recorded only if a job has a [`Tracer`].
//!
//! Each epoch is a trace. Its ids follow from the run and the epoch, so all workers and processes know them without a
//! message, and a line of the log can name them.
//! ```text
//! ids.rs  traces and spans by name     span.rs  what one says     tracer.rs  records them, or drops and counts them
//! ```
//! `otlp/` takes them from the tracer's queue and sends them.

mod ids;
mod span;
mod tracer;

pub(crate) use ids::{Context, current, set_current};
pub(crate) use span::{Kind, Span, Value};
pub(crate) use tracer::Tracer;
#[cfg(feature = "otlp")]
pub(crate) use tracer::{Recorded, SpanCounts};
