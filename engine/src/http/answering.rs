//! The body of an answer, which knows when it is complete.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::seat::{Seat, Stage};

/// A request that is being answered, until this is dropped.
pub(super) struct Answering(Arc<Seat>);

impl Answering {
    pub(super) fn begin(seat: Arc<Seat>) -> Self {
        seat.enter(Stage::Answering);
        Self(seat)
    }

    /// Marks that the answer is a stream of events, which goes on.
    pub(super) fn listens(&self) {
        self.0.enter(Stage::Listening);
    }

    /// Returns the body; with its end the answer is complete.
    pub(super) fn with(self, body: Body) -> Answer {
        Answer { body, _answering: self }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Stage::Silent);
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
