//! The trait of a target: what a connector writes, so that the outbox makes it exactly once.

use std::fmt;

use tidemill_engine::{ConnectorError, Epoch};

use super::marker::Marked;
use crate::retry::Failure;

/// The outbox of one worker: whose marker it is, and who moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outbox {
    /// The name of the sink's markers, which no other job uses.
    pub(crate) name: String,
    /// Index of the worker.
    pub(crate) worker: usize,
}

/// A target that moves a marker in the same transaction as it writes rows.
pub(crate) trait Target: fmt::Display + Send + Sync + 'static {
    type Connection: Send + 'static;

    /// Connects, without trying again.
    fn connect(&self) -> Result<Self::Connection, Failure>;

    /// Makes the marker this run's, unless `accept` refuses it: then nothing is changed. `accept` is given the marker as it
    /// was; a new one is put at the epoch that it returns. In one transaction, which waits for any other that moves the
    /// marker; from then on the last run cannot move it.
    fn take_over(
        &self,
        connection: &mut Self::Connection,
        outbox: &Outbox,
        incarnation: u64,
        accept: &mut dyn FnMut(Option<Marked>) -> Result<Epoch, ConnectorError>,
    ) -> Result<(), Failure>;

    /// Moves the marker to `epoch` if it is this run's and before it, and writes the rows, in one transaction.
    fn publish(
        &self,
        connection: &mut Self::Connection,
        outbox: &Outbox,
        incarnation: u64,
        epoch: Epoch,
        rows: &[u8],
    ) -> Result<Published, Failure>;
}

/// The outcome of an attempt to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Now,
    /// The marker was there already: an earlier attempt did it, whose answer did not arrive.
    Before,
}
