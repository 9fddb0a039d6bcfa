//! One execution of a job in this process: its parts, how it begins, and its snapshot for the outside.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_state::{CheckpointStore, WorkDir};

use super::cluster;
use super::mesh::{self, Mesh, Refusals};
use super::settings::JobSettings;
use crate::checkpoint::bases::BasePolicy;
use crate::checkpoint::restore::{self, Agreement, Starting, StartingPoint};
use crate::error::JobError;
use crate::locks::lock;
use crate::metrics::{JobState, OperatorSnapshot, Snapshot};
use crate::place::PlaceOfJob;
use crate::spans::Tracer;
use crate::threads::{self, Scheduler};
use crate::worker::Process;

/// The connections to the other processes, by process; empty in a job of one process.
pub(super) type Sockets = Vec<Option<TcpStream>>;

/// One execution of a job in this process.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) settings: JobSettings,
    pub(super) incarnation: u64,
    pub(super) store: Option<Arc<dyn CheckpointStore>>,
    pub(super) process: Arc<Process>,
    /// The working directory of RocksDB; `None` in a simulation, whose state is in memory.
    pub(super) work_dir: Option<WorkDir>,
    pub(super) bases: BasePolicy,
    pub(super) scheduler: Option<Arc<dyn Scheduler>>,
    /// The connections that were refused while the processes of the job connected.
    pub(super) refusals: Arc<Refusals>,
    /// Records spans, if they are sent to a collector.
    pub(super) tracer: Option<Arc<Tracer>>,
}

impl Run {
    /// Connects the processes of the job, and agrees with them on the starting point.
    pub(super) fn begin(&self, decided: &mut Option<Arc<StartingPoint>>) -> Result<Sockets, JobError> {
        let starting = Starting {
            job: &self.name,
            restore: &self.settings.restore,
            claim_mode: self.settings.claim_mode,
            key_groups: self.settings.key_groups,
            changes: self.settings.changes(),
            keep: self.settings.retain_checkpoints,
            incarnation: self.incarnation,
            now_ms: self.process.clock.processing_time().0,
            store: self.store.clone(),
        };
        let mut decide = |agreement: Option<&Agreement>| {
            let start = match agreement {
                None => restore::lead(&starting)?,
                Some(agreement) => restore::follow(&starting, agreement)?,
            };
            let agreement = start.agreement(self.incarnation);
            *decided = Some(Arc::new(start));
            Ok((agreement, ()))
        };
        let sockets = if self.settings.hosts.len() > 1 {
            mesh::form(&self.mesh(), decide)?.0
        } else {
            decide(None)?;
            Sockets::new()
        };
        if let Some(start) = decided {
            let progress = &self.process.progress;
            progress.start.end("checkpoint");
            progress.restored_epoch.store(start.restored_epoch().0, Ordering::Relaxed);
            progress.committed_epoch.store(start.restored_epoch().0, Ordering::Relaxed);
            progress.running_epoch.store(start.first_epoch.0, Ordering::Relaxed);
        }
        Ok(sockets)
    }

    fn mesh(&self) -> Mesh {
        let JobSettings { hosts, process, mesh_timeout, .. } = &self.settings;
        Mesh {
            hosts: hosts.clone(),
            me: *process,
            identity: cluster::identity(&self.name, &self.settings),
            run: self.incarnation,
            timeout: *mesh_timeout,
            hope: Duration::from_secs(10),
            stop: Arc::clone(&self.process.stop),
            refusals: Arc::clone(&self.refusals),
        }
    }

    /// Returns where the threads of the job are, as its log says it.
    pub(super) fn place(&self) -> PlaceOfJob {
        PlaceOfJob {
            name: self.name.clone(),
            running_epoch: Arc::clone(&self.process.progress.running_epoch),
            slow_batch: self.settings.slow_batch,
            tracer: self.tracer.clone(),
        }
    }

    /// Returns a snapshot of the job as it is now.
    pub(super) fn snapshot(&self, state: JobState) -> Snapshot {
        let progress = &self.process.progress;
        let committed = progress.committed_epoch.load(Ordering::Relaxed);
        Snapshot {
            job: self.name.clone(),
            state,
            workers: self.settings.all_workers(),
            elapsed_ms: progress
                .began
                .get()
                .map_or(0, |began| u64::try_from(threads::since(began.0).as_millis()).unwrap_or(u64::MAX)),
            now_ms: self.process.clock.processing_time().0,
            restored_epoch: Some(progress.restored_epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0),
            epoch: progress.running_epoch.load(Ordering::Relaxed),
            committed_epoch: (committed > 0).then_some(committed),
            in_flight: self.process.budget.in_flight(),
            pending: self.process.pending.load(Ordering::Relaxed),
            checkpoint_us: progress.checkpoint_time.percentiles(),
            delta_bytes: progress.written.delta_bytes.load(Ordering::Relaxed),
            checkpoint_files_lost: progress.written.lost_files.load(Ordering::Relaxed),
            state_bytes: progress.state.iter().map(|state| state.bytes.load(Ordering::Relaxed)).sum(),
            mesh_refused: self.refusals.counts(),
            operators: self.operators(),
        }
    }

    /// Returns the operators with the memory of their state.
    fn operators(&self) -> Vec<OperatorSnapshot> {
        let mut operators = self.process.metrics.snapshot();
        for state in &self.process.progress.state {
            for (name, bytes) in lock(&state.by_state).iter() {
                if let Some(operator) = operators.iter_mut().find(|operator| operator.name == name.operator) {
                    *operator.state_bytes.get_or_insert(0) += bytes;
                }
            }
        }
        operators
    }
}
