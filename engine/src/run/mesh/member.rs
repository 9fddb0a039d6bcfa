//! The part of the other processes in forming the mesh: they connect to process 0 and to each other, and start
//! from the point that process 0 decides.

use std::time::Duration;

use super::dial::{Call, Contact, Dialing, Reached, Rejection, dial};
use super::door::Door;
use super::forming::{Ended, Forming, LOOK, failed};
use super::identity::remedies;
use super::peer::{Peer, Peers};
use super::wire::Frame;
use crate::checkpoint::restore::Agreement;
use crate::error::{JobError, with_causes};
use crate::threads;

/// How long this process still listens to process 0 after another process is lost.
const LAST_WORD: Duration = Duration::from_millis(500);

impl Forming<'_> {
    pub(super) fn join<T>(
        &self,
        mut door: Door,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        loop {
            match self.connect(&mut door) {
                Ok((mut peers, agreement)) => {
                    drop(door);
                    return self.follow(&mut peers, &agreement, decide).map(|decided| (peers, decided));
                }
                Err(Ended::Again(reason)) => {
                    tracing::info!(reason, "a process is lost: connecting once more");
                    self.go_on_waiting(|| reason)?;
                    threads::pause(LOOK);
                }
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
    }

    /// Connects to process 0, then to all others, and waits for the decision of process 0.
    fn connect(&self, door: &mut Door) -> Result<(Peers, Agreement), Ended> {
        let (reached, contacts) = crossbeam_channel::unbounded();
        let call = |to, round| {
            let call = Call { address: self.address(to), hello: self.hello(to, round) };
            dial(call, &self.troubles, reached.clone())
        };
        let mut calls: Vec<Dialing> = vec![call(0, None)?];
        let mut peers = self.nobody();
        let mut round = None;
        let mut reported_connected = false;
        loop {
            for Reached { index, answer } in contacts.try_iter().collect::<Vec<_>>() {
                let Contact { stream, identity, round: theirs } = self.reached(index, answer)?;
                if let Err(misfit) = self.mesh.identity.fits(self.mesh.me, &identity, index) {
                    return Err(misfit.error().into());
                }
                let peer = Peer::new(stream, None).map_err(|error| Ended::Again(with_causes(&error)))?;
                if let Some(place) = peers.get_mut(index) {
                    *place = Some(peer);
                }
                if index == 0 {
                    round = Some(theirs);
                    for to in 1..self.mesh.me {
                        calls.push(call(to, round)?);
                    }
                }
            }
            self.look(door, round, &mut peers);
            let lost = peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| !peer.is_there()));
            if let Some(lost) = lost.filter(|lost| *lost > 0) {
                return Err(self.after_a_loss(lost, &mut peers));
            }
            let missing: Vec<usize> = (0..peers.len())
                .filter(|index| *index != self.mesh.me && !matches!(peers.get(*index), Some(Some(_))))
                .collect();
            if let Some(Some(leader)) = peers.first_mut() {
                match leader.heard() {
                    Ok(Some(Frame::Start(agreement))) if missing.is_empty() => return Ok((peers, agreement)),
                    Ok(Some(Frame::Stop { reason })) => return Err(self.stopped(&reason).into()),
                    Ok(Some(_)) => return Err(Ended::Again("process 0 does not keep to the protocol".to_owned())),
                    Ok(None) => {}
                    Err(reason) => return Err(Ended::Again(format!("process 0: {reason}"))),
                }
                if missing.is_empty() && !std::mem::replace(&mut reported_connected, true) {
                    leader.say(&Frame::Connected).map_err(Ended::Again)?;
                }
            }
            // Process 0 reports who is missing; it may have begun to wait later, so this one waits longer.
            let more = if round.is_some() { self.mesh.timeout } else { Duration::ZERO };
            self.go_on_waiting_for(more, || self.who_is_missing(&missing))?;
            threads::pause(LOOK);
        }
    }

    /// Handles the loss of a process. Process 0 may have stopped it, and then stops this one too, with the reason.
    fn after_a_loss(&self, lost: usize, peers: &mut Peers) -> Ended {
        let until = threads::now() + LAST_WORD;
        while let (Some(Some(leader)), true) = (peers.first_mut(), threads::now() < until) {
            match leader.heard() {
                Ok(Some(Frame::Stop { reason })) => return self.stopped(&reason).into(),
                Ok(None | Some(Frame::Start(_))) => threads::pause(LOOK),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        Ended::Again(format!("{} closed the connection", self.name(lost)))
    }

    fn reached(&self, index: usize, answer: Result<Contact, Rejection>) -> Result<Contact, JobError> {
        answer.map_err(|Rejection { reason, settings }| {
            let reason = format!("{} refuses this process: {reason}", self.name(index));
            JobError::cluster_of(reason, remedies(&settings))
        })
    }

    fn who_is_missing(&self, missing: &[usize]) -> String {
        let one = |index: &usize| match self.troubles.of(*index) {
            Some(trouble) if *index < self.mesh.me => format!("{} could not be reached: {trouble}", self.name(*index)),
            _ if *index < self.mesh.me => format!("{} could not be reached", self.name(*index)),
            _ => format!("{} did not connect", self.name(*index)),
        };
        if missing.is_empty() {
            return format!("{} has not said that the job begins: it waits for other processes", self.name(0));
        }
        missing.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn stopped(&self, reason: &str) -> JobError {
        JobError::cluster(format!("{} has stopped the start: {reason}", self.name(0)))
    }

    fn follow<T>(
        &self,
        peers: &mut Peers,
        agreement: &Agreement,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<T, JobError> {
        let lost = |reason: String| JobError::cluster(format!("{} is lost: {reason}", self.name(0)));
        let Some(Some(leader)) = peers.first_mut() else { return Err(lost("there is no connection".to_owned())) };
        let decided = match decide(Some(agreement)) {
            Ok((_, decided)) => decided,
            Err(error) => {
                drop(leader.say(&Frame::Unable { reason: error.report() }));
                return Err(error);
            }
        };
        leader.say(&Frame::Ready).map_err(lost)?;
        let asked = threads::now();
        loop {
            match leader.heard().map_err(lost)? {
                Some(Frame::Go) => return Ok(decided),
                Some(Frame::Stop { reason }) => return Err(self.stopped(&reason)),
                Some(_) => return Err(lost("it does not keep to the protocol".to_owned())),
                None if threads::since(asked) < self.mesh.timeout => threads::pause(LOOK),
                None => return failed(self.who_is_missing(&[])),
            }
        }
    }
}
