//! The part of forming the mesh that all processes share: they wait, introduce themselves, and judge clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dial::Troubles;
use super::door::{Door, Refusal};
use super::identity::{Identity, Misfit};
use super::peer::{Peer, Peers};
use super::refusals::Refusals;
use super::wire::{Frame, Hello, Round};
use crate::error::{JobError, Remedy};
use crate::threads;

/// The interval at which connections are polled.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// The information that a process needs to connect to the others.
pub(crate) struct Mesh {
    /// The addresses of all processes; `me` is the index of this one.
    pub(crate) hosts: Vec<String>,
    pub(crate) me: usize,
    pub(crate) identity: Identity,
    /// A number that no other start of the job has.
    pub(crate) run: u64,
    /// How long the other processes may take.
    pub(crate) timeout: Duration,
    /// How long a process with other settings is tolerated: it may be left over from an earlier deployment, and
    /// the right one may still come.
    pub(crate) hope: Duration,
    /// The flag that asks the job to stop.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) refusals: Arc<Refusals>,
}

pub(super) struct Forming<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) since: Instant,
    pub(super) troubles: Troubles,
}

/// The reason why an attempt ended without a mesh.
pub(super) enum Ended {
    /// A process is lost: the attempt is repeated.
    Again(String),
    Failed(JobError),
}

impl From<JobError> for Ended {
    fn from(error: JobError) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn failed<T>(text: String) -> Result<T, JobError> {
    Err(JobError::cluster(text))
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
                        tracing::info!(
                            address,
                            reason,
                            "the host name of this process cannot be resolved yet: waiting for it"
                        );
                    }
                    self.go_on_waiting(|| {
                        format!("the host name of this process ({address}) cannot be resolved: {reason}")
                    })?;
                }
            }
            threads::pause(Duration::from_millis(200));
        }
    }

    pub(super) fn address(&self, process: usize) -> String {
        self.mesh.hosts.get(process).cloned().unwrap_or_default()
    }

    /// Returns the process and its address, for messages.
    pub(super) fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.address(process))
    }

    pub(super) fn go_on_waiting(&self, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        self.go_on_waiting_for(Duration::ZERO, missing)
    }

    /// Does the same as `go_on_waiting`, with `more` time than the timeout of the mesh.
    pub(super) fn go_on_waiting_for(&self, more: Duration, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        if self.mesh.stop.load(Ordering::Relaxed) {
            return failed("the job was asked to stop before all of its processes were connected".to_owned());
        }
        let patience = self.mesh.timeout.saturating_add(more);
        if threads::since(self.since) < patience {
            return Ok(());
        }
        let waited = humantime::format_duration(patience);
        let reason = format!("after {waited} (mesh_timeout): {}", missing());
        Err(JobError::cluster_of(reason, ["hosts", "mesh_timeout"].map(Remedy::Setting)))
    }

    pub(super) fn hello(&self, to: usize, round: Option<Round>) -> Hello {
        let Mesh { me, identity, .. } = self.mesh;
        let (nonce, proof) = (String::new(), String::new());
        Hello { identity: identity.clone(), index: *me, to, round, nonce, proof }
    }

    /// Returns the answer to a `Hello`: a welcome, or the reason why the client is refused.
    fn judge(&self, hello: &Hello, round: Option<Round>, taken: &Peers) -> Result<Frame, Refusal> {
        let Mesh { me, identity, hosts, .. } = self.mesh;
        if let Err(Misfit { kind, reason, settings }) = identity.fits(*me, &hello.identity, hello.index) {
            return Err(Refusal { kind, reason, again: false, settings });
        }
        let refuse = |kind, again, reason| {
            // A client that may try again comes too early; otherwise its own index is wrong, or the list of hosts.
            let settings = if again { Vec::new() } else { ["hosts", "process"].map(str::to_owned).to_vec() };
            Err(Refusal { kind, reason, again, settings })
        };
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
                format!(
                    "it says that it is process {index}, but process {me} expects processes {} to {}",
                    me + 1,
                    hosts.len() - 1
                ),
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

    /// Admits other processes. Returns those that were refused because of other settings, with the reasons.
    pub(super) fn look(&self, door: &mut Door, round: Option<Round>, peers: &mut Peers) -> Vec<(usize, Misfit)> {
        let mut misfits = Vec::new();
        let guests = door.look(&mut |hello, _| {
            let answer = self.judge(hello, round, peers);
            if let Err(Refusal { kind: kind @ "settings", reason, settings, .. }) = &answer {
                misfits.push((hello.index, Misfit { kind, reason: reason.clone(), settings: settings.clone() }));
            }
            answer
        });
        for guest in guests {
            // If two clients with the same index come at once, the first one is admitted.
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
