//! The signs of life of a worker: when it has last begun a step, and whether its checkpoint thread is there. What asks
//! the job whether a restart would help goes by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::threads;

/// The signs of life of one worker.
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    /// When the worker has last begun a step, in microseconds since the origin, plus 1; 0 while it does not step.
    stepped_us: AtomicU64,
    checkpoint_thread: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { origin: threads::now(), stepped_us: AtomicU64::new(0), checkpoint_thread: AtomicBool::new(false) }
    }
}

impl Pulse {
    /// Notes that the worker begins a step. A worker without work still steps each 20 ms.
    pub(crate) fn beat(&self) {
        let us = u64::try_from(threads::since(self.origin).as_micros()).unwrap_or(u64::MAX - 1);
        self.stepped_us.store(us + 1, Ordering::Relaxed);
    }

    /// Notes that the worker will not step any more, or not for long.
    pub(crate) fn stop(&self) {
        self.stepped_us.store(0, Ordering::Relaxed);
    }

    /// Returns the time since the worker has last begun a step; `None` before its first and after its last step.
    pub(crate) fn since_step(&self) -> Option<Duration> {
        let stepped = self.stepped_us.load(Ordering::Relaxed).checked_sub(1)?;
        Some(threads::since(self.origin).saturating_sub(Duration::from_micros(stepped)))
    }

    /// Returns whether the worker steps without its checkpoint thread, so that nothing is committed any more.
    pub(crate) fn has_lost_its_checkpoint_thread(&self) -> bool {
        self.since_step().is_some() && !self.checkpoint_thread.load(Ordering::Relaxed)
    }

    /// Notes that the checkpoint thread begins; it keeps the returned value until it ends.
    pub(crate) fn checkpoint_thread(self: &Arc<Self>) -> CheckpointThreadLife {
        self.checkpoint_thread.store(true, Ordering::Relaxed);
        CheckpointThreadLife(Arc::clone(self))
    }
}

/// The life of a checkpoint thread, which ends when this is dropped.
pub(crate) struct CheckpointThreadLife(Arc<Pulse>);

impl Drop for CheckpointThreadLife {
    fn drop(&mut self) {
        self.0.checkpoint_thread.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_looked_at_only_while_it_steps() {
        let pulse = Arc::new(Pulse::default());
        assert!(pulse.since_step().is_none() && !pulse.has_lost_its_checkpoint_thread());
        let life = pulse.checkpoint_thread();
        pulse.beat();
        assert!(pulse.since_step().is_some() && !pulse.has_lost_its_checkpoint_thread());
        drop(life);
        assert!(pulse.has_lost_its_checkpoint_thread());
        pulse.stop();
        assert!(pulse.since_step().is_none() && !pulse.has_lost_its_checkpoint_thread());
    }
}
