//! The messages between the coordinators of the workers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidemill_state::{BaseEntry, DeltaEntry};

use crate::alignment::Reach;
use crate::control::request::{Order, Said};
use crate::epoch::Finish;
use crate::time::Epoch;

/// A message on its way to one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Packet {
    pub(crate) to: u32,
    pub(crate) message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    ToLeader(ToLeader),
    ToWorker(ToWorker),
}

/// A message from a worker to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// The worker's part of an epoch is durable.
    Durable(Durable),
    /// The worker's sources have handed out everything.
    Exhausted { worker: u32 },
    /// The job has been asked to stop.
    Stop,
    /// A checkpoint was asked for before the interval is over.
    Checkpoint,
    /// What this epoch has changed takes most of the memory of a worker's state.
    Full(Epoch),
    /// What there is to say of changes of operators.
    Control(Said),
}

/// A message to a worker, from the leader or from a worker of another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// To all, before the first tick: the incarnation of the leading process. Each process has an incarnation of
    /// its own.
    Leader { incarnation: u64 },
    /// To all: the epoch before this one ends.
    Tick(Epoch),
    /// To all: the job ends after an epoch.
    Finish(Finish),
    /// To all: the manifest of this epoch is written.
    Committed(Epoch),
    /// To the other processes: a worker of this process failed, for this reason. The job ends, without another
    /// checkpoint.
    Failed { process: usize, reason: String },
    /// To a worker of another process: the progress of the slowest active source of this one; `None` when all are
    /// idle.
    Sources { process: usize, least: Option<Reach> },
    /// To a worker of another process: where this one serves HTTP.
    Page { process: usize, address: SocketAddr },
    /// To one worker of each process, or of the leading one: what to do about a change of an operator.
    Control(Order),
    /// To a worker of another process: this many records of that process were consumed here.
    Acknowledge { records: u64 },
}

impl From<ToLeader> for Message {
    fn from(message: ToLeader) -> Self {
        Self::ToLeader(message)
    }
}

impl From<ToWorker> for Message {
    fn from(message: ToWorker) -> Self {
        Self::ToWorker(message)
    }
}

/// One worker's part of an epoch, which is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    pub(crate) worker: u32,
    pub(crate) epoch: Epoch,
    /// The delta file; `None` in a job without checkpoints.
    pub(crate) delta: Option<DeltaEntry>,
    /// The base snapshot that was stored with it, if there was one.
    pub(crate) base: Option<BaseEntry>,
    /// Deltas of earlier epochs that were lost and are written anew, without the state that the base has.
    pub(crate) rewritten: Vec<DeltaEntry>,
    /// The epochs whose output this worker may not have published by then.
    pub(crate) unpublished: Unpublished,
}

/// The epochs whose output a worker may not have published: what its sinks still have to publish of committed epochs,
/// and everything later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unpublished {
    /// The newest committed epoch.
    pub(crate) committed: Epoch,
    /// The committed epochs with output that is not published.
    pub(crate) epochs: BTreeSet<Epoch>,
}

impl Unpublished {
    pub(crate) fn has(&self, epoch: Epoch) -> bool {
        epoch > self.committed || self.epochs.contains(&epoch)
    }
}
