//! Changes of operators while the job runs, as another version of a model. Each takes effect with an epoch, on all workers
//! of all processes, and is in every checkpoint from then on.
//!
//! ```text
//! request (HTTP, a program) ─▶ queue.rs, of the leader: one change after the other
//!   ─▶ resolve, on the leader's process: names become what they stand for now
//!   ─▶ prepare, on each process, on a thread beside its workers ─ refused by one ─▶ nothing changes
//!   ─▶ all are ready: scheduled for the next epoch ─▶ each process applies it ─▶ only then that epoch begins
//! held.rs: the requests whose event time no watermark passes before they are in effect
//! switchboard.rs: the operators of a process that can be changed, and what became of the requests ─▶ events.rs: as a stream
//! ```
//! A record's epoch says which changes it is subject to. So a restore, whose manifest has the log, decides as the run did
//! that wrote it.

mod asked;
mod described;
mod events;
mod held;
pub(crate) mod queue;
pub(crate) mod request;
pub(crate) mod switchboard;

use std::any::Any;

use serde_json::Value;
use tidemill_state::ControlEntry;

pub use self::asked::ChangeRequest;
pub use self::events::ChangeEvent;
use crate::time::{Epoch, EventTime};

/// A change that an operator has decided on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Identifier of the change. The same decision has the same one, so that it is made once.
    pub id: String,
    /// The change, as it would be asked for.
    pub change: Value,
    /// The reason, with the numbers that it rests on.
    pub reason: String,
}

/// An operator that can be changed while the job runs. The workers of a process share it.
///
/// # Contract
/// * A record of epoch `e` is subject to the changes whose epoch is `e` or earlier, and to no others.
/// * A change that was prepared can be applied: [`apply`](Self::apply) cannot fail.
pub trait Controlled: Any + Send + Sync {
    /// Returns the change with all names that may mean something else later (`latest`, an alias) replaced by what they
    /// mean now. It is called in one process, before the others hear of the change, on a thread of its own.
    ///
    /// # Errors
    /// Fails when the change is not understood, or names something that is not there.
    fn resolve(&self, change: &Value) -> Result<Value, String>;

    /// Returns the event time from which on a change is in effect, resolved or not, if it says so.
    fn effective_from(&self, change: &Value) -> Option<EventTime> {
        let _ = change;
        None
    }

    /// Gets everything ready for a resolved change, such as loading a model. It is called in each process, on a thread
    /// of its own, and may take long; the operator runs on meanwhile.
    ///
    /// # Errors
    /// Fails when the change cannot be made. Then it is made in no process.
    fn prepare(&self, id: &str, change: &Value) -> Result<(), String>;

    /// Makes a prepared change for the records of `epoch` and later. No such record has been read yet.
    fn apply(&self, entry: &ControlEntry);

    /// Drops what was prepared for a change that will not be made.
    fn forget(&self, id: &str);

    /// Makes all changes of the log of a restored checkpoint, in order, before the first record, which is of epoch
    /// `first`. What later ones have replaced need not be there any more.
    ///
    /// # Errors
    /// Fails when something that is still in effect is missing: the job does not start.
    fn restore(&self, first: Epoch, log: &[ControlEntry]) -> Result<(), String>;

    /// Hears that no record of an epoch before `first` will come any more.
    fn passed(&self, first: Epoch) {
        let _ = first;
    }

    /// Returns what this process has seen, for [`decide`](Self::decide); none while there is nothing to decide. It is
    /// called about ten times a second.
    fn report(&self) -> Option<String> {
        None
    }

    /// Returns what this process has seen of the records of `epoch` and earlier, for [`resume`](Self::resume): the checkpoint
    /// of `epoch` has it.
    fn seen(&self, epoch: Epoch) -> Option<Vec<u8>> {
        let _ = epoch;
        None
    }

    /// Goes on from what each process of the restored run had [seen](Self::seen). It is called in each process, after
    /// [`restore`](Self::restore), with `leads` in the one that decides: what was seen must count once.
    fn resume(&self, seen: &[Vec<u8>], leads: bool) {
        let _ = (seen, leads);
    }

    /// Decides on a change by itself, from the last report of each process. It is called in the leading process, whenever
    /// there is a new report.
    fn decide(&self, reports: &[String]) -> Option<Decision> {
        let _ = reports;
        None
    }

    /// Returns what is in effect, and what is known of it, for the page and the API. Names and units are the
    /// operator's.
    fn status(&self) -> Value {
        Value::Null
    }
}
