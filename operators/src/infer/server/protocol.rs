//! What the four ways to speak to a server have in common.

use std::time::Instant;

use super::call::CallError;
use super::check::Description;
use super::settings::{ServerSettings, ServerUrl};
use crate::infer::{Tensor, TensorSpec};

/// A client of one thread. Every call ends at its deadline.
pub(super) trait Protocol: Send {
    /// Whether the server can score with the model now.
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError>;

    /// What the server says of the model; none when it says nothing.
    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError>;

    /// Scores a batch.
    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError>;
}

/// What a client is made of.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: ServerUrl,
    pub(super) settings: ServerSettings,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}
