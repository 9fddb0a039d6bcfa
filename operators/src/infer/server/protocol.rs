//! The interface of the clients for the four server protocols.

use std::time::Instant;

use super::call::CallError;
use super::check::Description;
use super::settings::{ServerSettings, ServerUrl};
use crate::infer::{Tensor, TensorSpec};

/// A client for one thread. Every call ends by its deadline.
pub(super) trait Protocol: Send {
    /// Checks that the server can score with the model now.
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError>;

    /// Returns the server's description of the model; none when the server has none.
    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError>;

    /// Scores a batch.
    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError>;
}

/// The address, settings, inputs and outputs of a client.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: ServerUrl,
    pub(super) settings: ServerSettings,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}
