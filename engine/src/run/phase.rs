//! The state that a running job is in, as its metrics and its probes say it.

use std::sync::atomic::Ordering;

use super::execution::Run;

/// The state of a job that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It connects its processes and looks for a checkpoint.
    Starting,
    /// It loads a checkpoint.
    Restoring,
    Running,
    /// Its input has ended, or it was asked to stop: it finishes its last epoch.
    Stopping,
    /// A worker has failed: it ends.
    Failed,
}

impl Phase {
    pub(super) const ALL: [Self; 5] = [Self::Starting, Self::Restoring, Self::Running, Self::Stopping, Self::Failed];

    pub(super) fn of(run: &Run) -> Self {
        let process = &run.process;
        let progress = &process.progress;
        let began = progress.began.get().is_some();
        if process.failure.is_set() {
            Self::Failed
        } else if process.stop.load(Ordering::Relaxed) || progress.finishing.load(Ordering::Relaxed) {
            Self::Stopping
        } else if began {
            Self::Running
        } else if progress.restored_epoch.load(Ordering::Relaxed) > 0 {
            Self::Restoring
        } else {
            Self::Starting
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Restoring => "restoring",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}
