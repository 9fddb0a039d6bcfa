//! The written contract between the shell and the logic above it.

use tidemill_state::{Key, StateError};

use super::context::Context;
use crate::record::{Data, Record};
use crate::time::{EventTime, ProcessingTime};

/// In which order a keyed operator sees its records.
///
/// The first line of each is the help of a flag of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Order {
    /// A record waits until the watermark has passed it: exact, and the same in any replay.
    ///
    /// Records come by event time, then by [`KeyedLogic::tie_break`], at any number of workers.
    EventTime,
    /// Nothing waits, and what has not arrived is not counted: a replay may differ.
    Arrival,
}

/// What an operator does with the records of one key at a time.
///
/// # Contract (the shell relies on it; ✓ = checked there by `debug_assert!`)
/// * State, clock and timers come from `ctx` and from the [`States`](super::States) handles only: a
///   field of `self` that changes is lost on restore.
/// * ✓ `on_timer` runs once per timer, in event-time order, when the watermark has reached it: every
///   record before it has been seen, none at or after it (with [`Order::EventTime`]).
/// * A record that comes behind the watermark is still given to `on_record`: [`Context::is_late`].
pub trait KeyedLogic: 'static {
    /// What the stream is keyed by.
    type Key: Key;
    /// What comes in.
    type In: Data;
    /// What goes out.
    type Out: Data;
    /// What goes out at the side (late records, rejected ones, …).
    type Side: Data;

    /// Whether records that the run before has seen come again after a restore, as those of a view do, which is computed anew.
    /// If so, a key's watermark is the operator's, though its state may have reached a further one ([`Context::reached`]).
    const COMES_AGAIN: bool = false;

    /// Handles one record of the context's key.
    ///
    /// # Errors
    /// [`LogicError::Record`] makes the record a dead letter; any other stops the job.
    fn on_record(
        &mut self,
        ctx: &mut Context<'_, Self::Key, Self::Out, Self::Side>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError>;

    /// Handles a timer that the context's key has set for `at`.
    ///
    /// # Errors
    /// As [`on_record`](Self::on_record).
    fn on_timer(
        &mut self,
        ctx: &mut Context<'_, Self::Key, Self::Out, Self::Side>,
        at: EventTime,
    ) -> Result<(), LogicError> {
        let _ = (ctx, at);
        Ok(())
    }

    /// Handles a processing-time timer that the context's key has set for `at`.
    ///
    /// # Errors
    /// As [`on_record`](Self::on_record).
    fn on_processing_timer(
        &mut self,
        ctx: &mut Context<'_, Self::Key, Self::Out, Self::Side>,
        at: ProcessingTime,
    ) -> Result<(), LogicError> {
        let _ = (ctx, at);
        Ok(())
    }

    /// The keys to be told of by [`on_restored`](Self::on_restored): usually all that a state has
    /// ([`ValueState::stored_keys`](super::ValueState::stored_keys)). Asked once, before the first record.
    ///
    /// # Errors
    /// When what RocksDB holds cannot be read: the job stops.
    fn restored_keys(&self) -> Result<Vec<Self::Key>, StateError> {
        Ok(Vec::new())
    }

    /// Handles a key that a restore brought back, before the first record. Downstream of the operator event time has not
    /// begun: what is sent may have any event time, also one behind the watermark, which is the operator's here.
    ///
    /// # Errors
    /// As [`on_record`](Self::on_record).
    fn on_restored(&mut self, ctx: &mut Context<'_, Self::Key, Self::Out, Self::Side>) -> Result<(), LogicError> {
        let _ = ctx;
        Ok(())
    }

    /// Orders records of the same event time under [`Order::EventTime`]; equal ones are in no
    /// particular order.
    fn tie_break(record: &Self::In) -> u64 {
        let _ = record;
        0
    }
}

/// Why the logic could not handle a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogicError {
    /// The record cannot be used: it becomes a dead letter with this reason.
    #[error("{0}")]
    Record(String),
    /// State could not be read: the job stops.
    #[error(transparent)]
    State(#[from] StateError),
}

impl LogicError {
    /// The record cannot be used, for this reason.
    pub fn record(reason: impl Into<String>) -> Self {
        Self::Record(reason.into())
    }
}
