//! The contract between the shell and the logic that it runs.

use tidemill_state::{Key, StateError};

use super::context::Context;
use crate::record::{Data, Record};
use crate::time::{EventTime, ProcessingTime};

/// The order in which a keyed operator handles its records.
///
/// The first line of each variant is its help text on the command line, where a flag has this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Order {
    /// A record waits until the watermark has passed it: exact, and the same in any replay.
    ///
    /// Records are handled by event time, then by [`KeyedLogic::tie_break`], with any number of workers.
    EventTime,
    /// Nothing waits, and what has not arrived is not counted: a replay may differ.
    Arrival,
}

/// The logic of a keyed operator, which handles records and timers one key at a time.
///
/// # Contract (the shell relies on it; ✓ = checked there by `debug_assert!`)
/// * State, clock and timers come from `ctx` and from the [`States`](super::States) handles only: a
///   field of `self` that changes is lost on restore.
/// * ✓ `on_timer` runs once per timer, in event-time order, when the watermark has reached it: with
///   [`Order::EventTime`], every record before it has been handled, and none at or after it.
/// * A record that comes behind the watermark is still passed to `on_record`, which can ask
///   [`Context::is_late`].
pub trait KeyedLogic: 'static {
    /// The key of the stream.
    type Key: Key;
    /// The data of the input records.
    type In: Data;
    /// The data of the results.
    type Out: Data;
    /// The data of the side output (late records, rejected records, …).
    type Side: Data;

    /// Whether records that the previous run handled come again after a restore, as the changes of a view do,
    /// which is computed anew. If so, the watermark of a key is always the operator's, even if the key's state had
    /// reached a later one ([`Context::reached`]).
    const COMES_AGAIN: bool = false;

    /// Handles one record of the context's key.
    ///
    /// # Errors
    /// [`LogicError::Record`] makes the record a dead letter; any other error stops the job.
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

    /// Returns the keys for which [`on_restored`](Self::on_restored) is called: usually all keys of a state
    /// ([`ValueState::stored_keys`](super::ValueState::stored_keys)). Called once, before the first record.
    ///
    /// # Errors
    /// When the state in RocksDB cannot be read: the job stops.
    fn restored_keys(&self) -> Result<Vec<Self::Key>, StateError> {
        Ok(Vec::new())
    }

    /// Handles a restored key, before the first record. Event time has not begun downstream of the operator: a result
    /// may have any event time, even one behind [`Context::watermark`], which is here the operator's watermark.
    ///
    /// # Errors
    /// As [`on_record`](Self::on_record).
    fn on_restored(&mut self, ctx: &mut Context<'_, Self::Key, Self::Out, Self::Side>) -> Result<(), LogicError> {
        let _ = ctx;
        Ok(())
    }

    /// Returns the number by which records of the same event time are ordered under [`Order::EventTime`];
    /// records with equal numbers are in no particular order.
    fn tie_break(record: &Self::In) -> u64 {
        let _ = record;
        0
    }
}

/// The reason why the logic could not handle a record.
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
    /// Makes an error that says that the record cannot be used, for this reason.
    pub fn record(reason: impl Into<String>) -> Self {
        Self::Record(reason.into())
    }
}
