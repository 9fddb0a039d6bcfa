//! `/api/v1/changes` and `/api/v1/models`: how operators were changed while the job runs, and what is in effect.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use crate::control::switchboard::{Change, Step};
use crate::http::shown::Shown;

/// The answer of `/api/v1/changes`.
#[derive(Serialize)]
pub(in crate::http) struct Changes {
    /// The newest first.
    changes: Vec<Shows>,
}

#[derive(Serialize)]
struct Shows {
    #[serde(flatten)]
    change: Change,
    /// Whether a checkpoint has the change, so that it outlives the process.
    committed: bool,
}

/// The answer of `/api/v1/models`: what each operator that can be changed says of itself.
#[derive(Serialize)]
pub(in crate::http) struct Operators {
    operators: BTreeMap<String, Value>,
}

pub(in crate::http) fn changes(shown: &Shown) -> Changes {
    let process = &shown.watched.process;
    let committed = process.progress.committed_epoch.load(Ordering::Relaxed);
    let shows = |change: Change| {
        // The manifest of the epoch before has it: it is written when that epoch has ended, and the change was scheduled
        // by then.
        let committed = matches!(change.step, Step::Scheduled { epoch } if epoch <= committed + 1);
        Shows { change, committed }
    };
    Changes { changes: process.control.changes().into_iter().map(shows).collect() }
}

pub(in crate::http) fn operators(shown: &Shown) -> Operators {
    Operators { operators: shown.watched.process.control.statuses() }
}
