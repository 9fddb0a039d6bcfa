//! Named places where a test has the process die, as by `kill -9`, exactly there.
//!
//! `TIDEMILL_CRASH_AT=after-manifest:7` kills the process when it comes to that place in epoch 7 or the
//! first later one that gets there; `after-delta:7:1` waits for worker 1. The places, in the order of an epoch:
//! ```text
//! mid-epoch ─▶ after-delta ─▶ before-manifest ─▶ after-manifest ─▶ after-publish (each sink)
//! Kafka, exactly once: mid-produce ─▶ before-marker ─▶ after-marker ─▶ before-commit ─▶ after-commit
//! ```
//! Without the variable a place costs one look at a static.

use std::str::FromStr;
use std::sync::OnceLock;

use crate::error::JobError;
use crate::time::Epoch;

const VARIABLE: &str = "TIDEMILL_CRASH_AT";

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// Where to die.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    place: String,
    epoch: Epoch,
    worker: Option<usize>,
}

impl Plan {
    fn is_due(&self, place: &str, epoch: Epoch, worker: usize) -> bool {
        self.place == place && epoch >= self.epoch && self.worker.is_none_or(|planned| planned == worker)
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{VARIABLE}=\"{text}\" is not PLACE:EPOCH or PLACE:EPOCH:WORKER");
        let mut parts = text.split(':');
        let place = parts.next().filter(|place| !place.is_empty()).ok_or_else(wrong)?.to_owned();
        let epoch = parts.next().and_then(|epoch| epoch.parse().ok()).map(Epoch).ok_or_else(wrong)?;
        let worker = parts.next().map(|worker| worker.parse().map_err(|_| wrong())).transpose()?;
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self { place, epoch, worker }) }
    }
}

/// Reads the plan, once per process, before anything starts.
pub(crate) fn plan() -> Result<(), JobError> {
    let plan = match std::env::var(VARIABLE) {
        Ok(text) => Some(text.parse().map_err(JobError::Invalid)?),
        Err(_) => None,
    };
    PLAN.get_or_init(|| plan);
    Ok(())
}

/// Dies here if that is planned.
pub fn point(place: &str, epoch: Epoch, worker: usize) {
    if let Some(Some(plan)) = PLAN.get()
        && plan.is_due(place, epoch, worker)
    {
        // Not `abort`: nothing may run after this, no handler and no destructor.
        let died = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        tracing::error!(?died, place, "could not die here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_place_an_epoch_and_perhaps_a_worker() {
        let plan: Plan = "after-delta:7:1".parse().unwrap();
        assert_eq!(plan, Plan { place: "after-delta".to_owned(), epoch: Epoch(7), worker: Some(1) });
        assert!(plan.is_due("after-delta", Epoch(7), 1) && plan.is_due("after-delta", Epoch(9), 1));
        assert!(!plan.is_due("after-delta", Epoch(6), 1) && !plan.is_due("after-delta", Epoch(7), 0));
        assert!(!plan.is_due("mid-epoch", Epoch(7), 1));
        assert_eq!("after-delta:7".parse::<Plan>().unwrap().worker, None);
        for wrong in ["", "after-delta", "after-delta:x", ":7", "a:7:b", "a:7:1:2"] {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
        }
    }
}
