//! What coordinators tell each other.

use serde::{Deserialize, Serialize};
use tidemill_state::{BaseEntry, DeltaEntry};

use crate::alignment::Reach;
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

/// What a worker says to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// The worker's part of an epoch is durable.
    Durable(Durable),
    /// The worker's sources have handed out everything.
    Exhausted { worker: u32 },
    /// Somebody asked the job to stop.
    Stop,
}

/// What a worker is told, by the leader or by a worker of another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// To all, before the first tick: the start of the job that leads. Each process has an incarnation of its own.
    Leader { incarnation: u64 },
    /// To all: the epoch before this one ends.
    Tick(Epoch),
    /// To all: the job ends after an epoch.
    Finish(Finish),
    /// To all: the manifest of this epoch is there.
    Committed(Epoch),
    /// To all: a worker failed, and what it said. The job is over, without another checkpoint.
    Failed { process: usize, reason: String },
    /// To a worker of another process: how far the slowest active source of this one is; none when idle.
    Sources { process: usize, least: Option<Reach> },
    /// To a worker of another process: this many of its process's records were consumed.
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

/// One worker's part of an epoch, durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    pub(crate) worker: u32,
    pub(crate) epoch: Epoch,
    /// The delta file; none in a job without checkpoints.
    pub(crate) delta: Option<DeltaEntry>,
    /// A base snapshot that was taken with it.
    pub(crate) base: Option<BaseEntry>,
    /// The newest epoch whose output this worker had published by then.
    pub(crate) published: Epoch,
}
