//! Named crash points, where a test can have the process die, as by `kill -9`, or stop.
//!
//! `TIDEMILL_CRASH_AT=after-manifest:7` kills the process when it reaches that point in epoch 7, or in the first
//! later epoch that reaches it; `after-delta:7:1` does so only on worker 1. `TIDEMILL_STOP_AT` sends SIGSTOP
//! instead, so that a test can act on the servers before it sends SIGCONT. The points, in the order of an epoch:
//! ```text
//! mid-epoch ─▶ before-flush ─▶ after-delta ─▶ before-manifest ─▶ after-manifest ─▶ after-publish (each sink)
//! Kafka, exactly once: mid-produce ─▶ before-marker ─▶ after-marker ─▶ before-commit ─▶ after-commit
//! PostgreSQL: before-marker ─▶ after-marker ─▶ before-commit ─▶ after-commit
//! Redis: before-marker ─▶ after-batch (each but the last one of an epoch) ─▶ after-commit
//! webhook, each request: before-request ─▶ after-answer (─▶ after-dead-letter)
//! all of them, at a start, the epoch being the one that is restored: taken-over (not webhook) ─▶ republished
//! ```
//! Without the variables a crash point costs one read of a static.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGKILL, SIGSTOP};
use signal_hook::low_level::raise;

use crate::error::JobError;
use crate::time::Epoch;

const CRASH: &str = "TIDEMILL_CRASH_AT";
const STOP: &str = "TIDEMILL_STOP_AT";

static PLANS: OnceLock<Plans> = OnceLock::new();

struct Plans {
    crash: Option<Plan>,
    stop: Option<Plan>,
    stopped: AtomicBool,
}

/// The point at which the process dies or stops.
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
        let wrong = || format!("\"{text}\" is not PLACE:EPOCH or PLACE:EPOCH:WORKER");
        let mut parts = text.split(':');
        let place = parts.next().filter(|place| !place.is_empty()).ok_or_else(wrong)?.to_owned();
        let epoch = parts.next().and_then(|epoch| epoch.parse().ok()).map(Epoch).ok_or_else(wrong)?;
        let worker = parts.next().map(|worker| worker.parse().map_err(|_| wrong())).transpose()?;
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self { place, epoch, worker }) }
    }
}

/// Reads the plans from the environment, once per process, before anything starts.
pub(crate) fn plan() -> Result<(), JobError> {
    let read = |variable: &str| {
        let parsed = std::env::var(variable).ok().map(|text| text.parse());
        parsed.transpose().map_err(|e| JobError::Invalid(format!("{variable}={e}")))
    };
    let plans = Plans { crash: read(CRASH)?, stop: read(STOP)?, stopped: AtomicBool::new(false) };
    PLANS.get_or_init(|| plans);
    Ok(())
}

/// Marks the crash point `place`: the process dies or stops here if that is planned.
pub fn point(place: &str, epoch: Epoch, worker: usize) {
    let Some(Plans { crash, stop, stopped }) = PLANS.get() else { return };
    let is_due = |plan: &Option<Plan>| plan.as_ref().is_some_and(|plan| plan.is_due(place, epoch, worker));
    if is_due(crash) {
        // Not `abort`: nothing may run after this, no handler and no destructor.
        signal(SIGKILL, place);
    }
    if is_due(stop) && !stopped.swap(true, Ordering::Relaxed) {
        signal(SIGSTOP, place);
    }
}

/// Sends the signal to the calling thread, which therefore does not return before the process has stopped. If it went to
/// the process, another thread might have to take it, and this one would run on until that one's turn comes.
fn signal(signal: i32, place: &str) {
    if let Err(error) = raise(signal) {
        tracing::error!(%error, signal, place, "the signal of a crash point could not be sent");
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
