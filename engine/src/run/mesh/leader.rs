//! The part of process 0 in forming the mesh: it gathers the others, and has all of them start from the same point.

use std::collections::BTreeMap;
use std::time::Instant;

use super::door::Door;
use super::forming::{Ended, Forming, LOOK, failed};
use super::identity::Misfit;
use super::peer::{Peers, present, stop_all};
use super::wire::{Frame, Round};
use crate::checkpoint::restore::Agreement;
use crate::error::JobError;
use crate::threads;

impl Forming<'_> {
    pub(super) fn lead<T>(
        &self,
        mut door: Door,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        let mut misfits = BTreeMap::new();
        for number in 1.. {
            let mut peers = self.nobody();
            match self.gather(&mut door, Round { run: self.mesh.run, number }, &mut peers, &mut misfits) {
                Ok(()) => {
                    drop(door);
                    return self.agree(peers, decide);
                }
                Err(Ended::Again(reason)) => tracing::info!(reason, "a process is lost: the others connect once more"),
                Err(Ended::Failed(error)) => {
                    stop_all(&mut peers, &error);
                    return Err(error);
                }
            }
        }
        failed("too many attempts".to_owned())
    }

    /// Waits until all other processes are connected, to this one and to each other.
    fn gather(
        &self,
        door: &mut Door,
        round: Round,
        peers: &mut Peers,
        misfits: &mut BTreeMap<usize, (Instant, Misfit)>,
    ) -> Result<(), Ended> {
        loop {
            for (index, misfit) in self.look(door, Some(round), peers) {
                misfits.entry(index).or_insert_with(|| (threads::now(), misfit));
            }
            for (index, peer) in peers.iter_mut().enumerate() {
                let Some(peer) = peer else { continue };
                misfits.remove(&index);
                match peer.heard() {
                    Ok(None) => {}
                    Ok(Some(Frame::Connected)) => peer.connected = true,
                    Ok(Some(_)) => {
                        return Err(Ended::Again(format!("{} does not keep to the protocol", self.name(index))));
                    }
                    Err(reason) => return Err(Ended::Again(format!("{}: {reason}", self.name(index)))),
                }
            }
            let missing: Vec<usize> =
                (1..peers.len()).filter(|index| !matches!(peers.get(*index), Some(Some(_)))).collect();
            if missing.is_empty() && peers.iter().flatten().all(|peer| peer.connected) {
                return Ok(());
            }
            if let Some((_, misfit)) = misfits.values().find(|(since, _)| threads::since(*since) > self.mesh.hope) {
                return Err(Ended::Failed(misfit.error()));
            }
            self.go_on_waiting(|| self.what_is_missing(&missing, peers, misfits))?;
            threads::pause(LOOK);
        }
    }

    fn what_is_missing(
        &self,
        missing: &[usize],
        peers: &Peers,
        misfits: &BTreeMap<usize, (Instant, Misfit)>,
    ) -> String {
        if missing.is_empty() {
            let waiting =
                peers.iter().enumerate().filter(|(_, peer)| peer.as_ref().is_some_and(|peer| !peer.connected));
            let waiting: Vec<String> = waiting.map(|(index, _)| self.name(index)).collect();
            return format!("{} could not connect to all other processes: see there", waiting.join(", "));
        }
        let names: Vec<String> = missing.iter().map(|index| self.name(*index)).collect();
        let why =
            missing.iter().filter_map(|index| misfits.get(index)).map(|(_, misfit)| format!("; {}", misfit.reason));
        format!(
            "{} did not connect: is it running, and can it reach {}?{}",
            names.join(", "),
            self.name(0),
            why.collect::<String>()
        )
    }

    fn agree<T>(
        &self,
        mut peers: Peers,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        let agreed = decide(None).and_then(|(agreement, decided)| {
            self.have_all_start(&mut peers, agreement)?;
            Ok(decided)
        });
        match agreed {
            Ok(decided) => Ok((peers, decided)),
            Err(error) => {
                stop_all(&mut peers, &error);
                Err(error)
            }
        }
    }

    fn have_all_start(&self, peers: &mut Peers, agreement: Agreement) -> Result<(), JobError> {
        let lost = |index, reason| JobError::cluster(format!("{} is lost: {reason}", self.name(index)));
        let asked = threads::now();
        for (index, peer) in present(peers) {
            peer.say(&Frame::Start(agreement.clone())).map_err(|reason| lost(index, reason))?;
        }
        let mut ready = vec![false; peers.len()];
        while present(peers).count() > ready.iter().filter(|ready| **ready).count() {
            let mut gone = None;
            for (index, peer) in present(peers) {
                match peer.heard() {
                    Ok(None) => {}
                    Ok(Some(Frame::Ready)) => ready.iter_mut().skip(index).take(1).for_each(|ready| *ready = true),
                    Ok(Some(Frame::Unable { reason })) => {
                        return failed(format!("{} cannot start: {reason}", self.name(index)));
                    }
                    Ok(Some(_)) => gone = Some(lost(index, "it does not keep to the protocol".to_owned())),
                    Err(reason) => gone = Some(lost(index, reason)),
                }
            }
            // The loss is returned only after all peers were read, since another one may have reported the reason
            // for it.
            if let Some(error) = gone {
                return Err(error);
            }
            if threads::since(asked) > self.mesh.timeout {
                let waiting = ready.iter().enumerate().skip(1).filter(|(_, ready)| !**ready);
                let waiting: Vec<String> = waiting.map(|(index, _)| self.name(index)).collect();
                return failed(format!("{} did not say in time that it is ready", waiting.join(", ")));
            }
            threads::pause(LOOK);
        }
        for (index, peer) in present(peers) {
            peer.say(&Frame::Go).map_err(|reason| lost(index, reason))?;
        }
        Ok(())
    }
}
