//! The span of a call to a server. What the call sends may tell the server of it, so that the server's own spans are
//! below it.

use std::sync::Arc;

use crate::place::Place;
use crate::record::Arrival;
use crate::spans::{Context, Kind, Span, Tracer, Value, current, set_current};

/// A call that is under way on this thread. It ends when it is dropped.
#[must_use]
pub struct CallSpan(Option<Open>);

struct Open {
    tracer: Arc<Tracer>,
    context: Context,
    parent: Context,
    /// The call around this one.
    around: Option<Context>,
    name: &'static str,
    began: Arrival,
    attributes: Vec<(&'static str, Value)>,
    error: Option<String>,
}

impl CallSpan {
    /// Begins a call in the trace of the epoch that the job is in. Without an exporter this is one look at where the
    /// thread is.
    pub fn begin(name: &'static str) -> Self {
        let open = || {
            let (tracer, epoch) = Place::tracer_here()?;
            let parent = tracer.epoch(epoch?)?;
            let Place { worker, operator, .. } = Place::here();
            let mut attributes = Vec::new();
            attributes.extend(worker.map(|worker| ("tidemill.worker", worker.into())));
            attributes.extend(operator.map(|operator| ("tidemill.operator", (*operator).into())));
            let context = tracer.child(parent);
            let (began, around) = (tracer.now(), set_current(Some(context)));
            Some(Open { tracer, context, parent, around, name, began, attributes, error: None })
        };
        Self(open())
    }

    /// Adds an attribute. `value` is called only if the call is recorded.
    pub fn text(&mut self, name: &'static str, value: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.attributes.push((name, Value::Text(value())));
        }
    }

    /// Adds an attribute that is a number.
    pub fn number(&mut self, name: &'static str, value: usize) {
        if let Some(open) = &mut self.0 {
            open.attributes.push((name, value.into()));
        }
    }

    /// Says that the call has failed, in which way (a short name, the same for all failures of its kind) and why.
    pub fn failed(&mut self, kind: &'static str, why: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.attributes.push(("error.type", kind.into()));
            open.error = Some(why());
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { tracer, context, parent, around, name, began, attributes, error } = open;
        set_current(around);
        let (ended, parent) = (tracer.now(), Some(parent.span));
        tracer.record(Span { context, parent, name: name.into(), kind: Kind::Client, began, ended, attributes, error });
    }
}

/// Returns the header `traceparent` (W3C Trace Context) of the call that this thread makes; `None` if it is not
/// recorded.
#[must_use]
pub fn traceparent() -> Option<String> {
    current().map(|context| context.to_string())
}
