//! What all processes do while the mesh forms: wait, say who they are, and judge who comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dial::Troubles;
use super::door::{Door, Refusal};
use super::identity::{Identity, Misfit};
use super::peer::{Peer, Peers};
use super::refusals::Refusals;
use super::wire::{Frame, Hello, Round};
use crate::error::JobError;
use crate::threads;

/// How often it is looked whether anything has happened.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// What a process has to know to find the others.
pub(crate) struct Mesh {
    /// All processes, and which of them this one is.
    pub(crate) hosts: Vec<String>,
    pub(crate) me: usize,
    pub(crate) identity: Identity,
    /// A number that no other start has.
    pub(crate) run: u64,
    /// How long the others may take.
    pub(crate) timeout: Duration,
    /// A process with other settings may be left over from an earlier deployment: so long there is hope that the right one
    /// comes as well.
    pub(crate) hope: Duration,
    /// Set when the job is asked to stop.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) refusals: Arc<Refusals>,
}

pub(super) struct Forming<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) since: Instant,
    pub(super) troubles: Troubles,
}

/// Why an attempt ended without a mesh.
pub(super) enum Ended {
    /// Somebody is lost: once more.
    Again(String),
    Failed(JobError),
}

impl From<JobError> for Ended {
    fn from(error: JobError) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn failed<T>(text: String) -> Result<T, JobError> {
    Err(JobError::Cluster(text))
}

impl Forming<'_> {
    pub(super) fn open_door(&self) -> Result<Door, JobError> {
        let address = self.address(self.mesh.me);
        let mut said = false;
        loop {
            match Door::open(&address, &self.mesh.refusals)? {
                Ok(door) => return Ok(door),
                Err(reason) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::info!(address, reason, "the name of this process is not known yet: waiting for it");
                    }
                    self.go_on_waiting(|| format!("the name of this process ({address}) is not known: {reason}"))?;
                }
            }
            threads::pause(Duration::from_millis(200));
        }
    }

    pub(super) fn address(&self, process: usize) -> String {
        self.mesh.hosts.get(process).cloned().unwrap_or_default()
    }

    /// The process and its address, for messages.
    pub(super) fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.address(process))
    }

    pub(super) fn go_on_waiting(&self, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        self.go_on_waiting_for(Duration::ZERO, missing)
    }

    /// Some time more than the others are given.
    pub(super) fn go_on_waiting_for(&self, more: Duration, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        if self.mesh.stop.load(Ordering::Relaxed) {
            return failed("the job was asked to stop before all of its processes were connected".to_owned());
        }
        let patience = self.mesh.timeout.saturating_add(more);
        if threads::since(self.since) < patience {
            return Ok(());
        }
        let waited = humantime::format_duration(patience);
        failed(format!("after {waited} (mesh_timeout): {}", missing()))
    }

    pub(super) fn hello(&self, to: usize, round: Option<Round>) -> Hello {
        let Mesh { me, identity, .. } = self.mesh;
        let (nonce, proof) = (String::new(), String::new());
        Hello { identity: identity.clone(), index: *me, to, round, nonce, proof }
    }

    /// What somebody is answered that may be a process of this job.
    fn judge(&self, hello: &Hello, round: Option<Round>, taken: &Peers) -> Result<Frame, Refusal> {
        let Mesh { me, identity, hosts, .. } = self.mesh;
        let refuse = |kind, again, reason| Err(Refusal { kind, reason, again });
        if let Err(Misfit { kind, reason }) = identity.fits(*me, &hello.identity, hello.index) {
            return refuse(kind, false, reason);
        }
        let (index, to) = (hello.index, hello.to);
        if to != *me {
            return refuse(
                "index",
                false,
                format!(
                    "it takes process {me} for process {to}: hosts must name the processes in the same order everywhere"
                ),
            );
        }
        if index <= *me || index >= hosts.len() {
            return refuse(
                "index",
                false,
                format!("it says it is process {index}; process {me} waits for {} to {}", me + 1, hosts.len() - 1),
            );
        }
        let Some(round) = round else {
            return refuse("early", true, format!("process {me} has not reached process 0 yet"));
        };
        if *me > 0 && hello.round != Some(round) {
            return refuse(
                "round",
                true,
                format!(
                    "process {index} belongs to another start of the job, or to an earlier attempt of its processes to connect"
                ),
            );
        }
        if let Some(Some(peer)) = taken.get(index) {
            let by = peer.from.map_or_else(String::new, |from| format!(", at {from}"));
            return refuse(
                "taken",
                true,
                format!("process {index} is connected already{by}: are two started as process {index}?"),
            );
        }
        Ok(Frame::Welcome { identity: identity.clone(), index: *me, round, nonce: String::new(), proof: String::new() })
    }

    /// Lets others in, and says which of those that are not have other settings.
    pub(super) fn look(&self, door: &mut Door, round: Option<Round>, peers: &mut Peers) -> Vec<(usize, String)> {
        let mut misfits = Vec::new();
        let guests = door.look(&mut |hello, _| {
            let answer = self.judge(hello, round, peers);
            if let Err(Refusal { kind: "settings", reason, .. }) = &answer {
                misfits.push((hello.index, reason.clone()));
            }
            answer
        });
        for guest in guests {
            // Of two with one index in one look the first one has it.
            if let (Some(place @ None), Ok(peer)) =
                (peers.get_mut(guest.index), Peer::new(guest.stream, Some(guest.from)))
            {
                *place = Some(peer);
            }
        }
        misfits
    }

    pub(super) fn nobody(&self) -> Peers {
        self.mesh.hosts.iter().map(|_| None).collect()
    }
}
