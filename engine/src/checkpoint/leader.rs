//! The leader's decisions: when epochs tick, when one is committed, when the job ends. It does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidemill_state::{ControlEntry, Manifest, WorkerEntry};

use super::protocol::{Durable, ToLeader, ToWorker};
use crate::control::queue::{ChangeQueue, Tell};
use crate::control::request::Said;
use crate::epoch::Finish;
use crate::time::Epoch;

/// An action that the leader has decided on, and that its caller performs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Broadcast(ToWorker),
    /// Write the manifest of this epoch; then call [`Leader::committed`].
    Commit {
        epoch: Epoch,
        drained: bool,
        chains: Vec<Chain>,
        control: Vec<ControlEntry>,
    },
    /// Tell one worker of each process, or of the leading one.
    Tell(Tell),
}

/// The files that contain one worker's state and unpublished output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) WorkerEntry);

impl Chain {
    /// Adds files that have become durable, and drops those that are no longer needed: deltas before
    /// the base, unless their output may still have to be published.
    pub(crate) fn extend(&mut self, durable: Durable) {
        let Durable { worker: _, epoch: _, delta, base, rewritten, unpublished } = durable;
        let Self(WorkerEntry { base: known, deltas }) = self;
        for new in rewritten {
            deltas.iter_mut().filter(|old| old.epoch == new.epoch).for_each(|old| old.clone_from(&new));
        }
        deltas.extend(delta);
        if base.is_some() {
            *known = base;
        }
        let base_epoch = known.as_ref().map_or(0, |base| base.epoch);
        deltas.retain(|delta| delta.epoch >= base_epoch || unpublished.has(Epoch(delta.epoch)));
    }
}

/// Length of the shortest epochs that a job has by itself, whatever its interval.
pub(crate) const SHORTEST_EPOCH: Duration = Duration::from_millis(20);

/// The state of the leader.
#[derive(Debug)]
pub(crate) struct Leader {
    workers: usize,
    interval: Duration,
    /// Length of the running epoch: at most `interval`.
    pace: Duration,
    running: Epoch,
    running_since: Instant,
    committed: Option<Epoch>,
    first: Epoch,
    writing: bool,
    started: bool,
    exhausted: BTreeSet<u32>,
    stop: bool,
    /// Length from which on the epoch that runs may end early, if it should.
    cut: Option<Duration>,
    finish: Option<Finish>,
    durable: BTreeMap<Epoch, Vec<Durable>>,
    chains: Vec<Chain>,
    changes: ChangeQueue,
}

impl Leader {
    const MAX_OPEN: u64 = Manifest::MAX_OPEN_EPOCHS;
    /// Maximum length of the first epoch. Each further one may be twice as long as the one before, so a job that is
    /// killed again and again has by then committed about half of what it has done.
    const FIRST_PACE: Duration = Duration::from_millis(100);

    /// Makes the leader of a run that begins with these files, one chain per worker, and these changes.
    pub(crate) fn new(
        chains: Vec<Chain>,
        changes: ChangeQueue,
        interval: Duration,
        first: Epoch,
        now: Instant,
    ) -> Self {
        Self {
            workers: chains.len(),
            interval,
            pace: interval.min(Self::FIRST_PACE),
            running: first,
            running_since: now,
            committed: None,
            first,
            writing: false,
            started: false,
            exhausted: BTreeSet::new(),
            stop: false,
            cut: None,
            finish: None,
            durable: BTreeMap::new(),
            chains,
            changes,
        }
    }

    /// Handles a message of a worker.
    pub(crate) fn hear(&mut self, message: ToLeader, now: Instant) {
        match message {
            ToLeader::Durable(durable) => self.durable.entry(durable.epoch).or_default().push(durable),
            ToLeader::Exhausted { worker } => drop(self.exhausted.insert(worker)),
            ToLeader::Stop => self.stop = true,
            ToLeader::Checkpoint => self.cut_after(Duration::ZERO),
            // Another worker may have had it ended already: a new one has changed little.
            ToLeader::Full(epoch) if epoch == self.running => self.cut_after(SHORTEST_EPOCH),
            ToLeader::Full(_) => {}
            // It is for the operators of this process.
            ToLeader::Control(Said::Seen { .. }) => {}
            ToLeader::Control(Said::Asked(request)) => self.changes.ask(request),
            ToLeader::Control(Said::Progress { process, id, progress }) => {
                let held = self.changes.holds_epoch();
                self.changes.hear(process, &id, progress, self.running.next(), now);
                if held && !self.changes.holds_epoch() {
                    // A change takes effect soon, however long epochs are.
                    self.cut_after(SHORTEST_EPOCH);
                }
            }
        }
    }

    fn cut_after(&mut self, length: Duration) {
        self.cut = Some(self.cut.map_or(length, |cut| cut.min(length)));
    }

    /// Handles the commit of `epoch`: its manifest is written.
    pub(crate) fn committed(&mut self, epoch: Epoch) -> Action {
        self.writing = false;
        self.committed = Some(epoch);
        Action::Broadcast(ToWorker::Committed(epoch))
    }

    /// Returns the next action, if there is one now.
    pub(crate) fn decide(&mut self, now: Instant) -> Option<Action> {
        let change = |leader: &mut Self| leader.changes.decide(now).map(Action::Tell);
        let first = self.start().or_else(|| self.commit()).or_else(|| self.end());
        first.or_else(|| change(self)).or_else(|| self.tick(now))
    }

    /// The first tick lets the sources begin: worker 0 has recovered all sinks before it.
    fn start(&mut self) -> Option<Action> {
        let first = !std::mem::replace(&mut self.started, true);
        first.then_some(Action::Broadcast(ToWorker::Tick(self.first)))
    }

    /// Returns how long it is until the next tick; `None` while there will be no tick.
    pub(crate) fn next_tick(&self, now: Instant) -> Option<Duration> {
        let may_tick = self.finish.is_none() && self.open_epochs() < Self::MAX_OPEN && !self.changes.holds_epoch();
        let pace = self.cut.map_or(self.pace, |cut| cut.min(self.pace));
        may_tick.then(|| (self.running_since + pace).saturating_duration_since(now))
    }

    fn open_epochs(&self) -> u64 {
        self.running.0 + 1 - self.next_commit().0
    }

    fn next_commit(&self) -> Epoch {
        self.committed.map_or(self.first, Epoch::next)
    }

    fn commit(&mut self) -> Option<Action> {
        let epoch = self.next_commit();
        let complete = self.durable.get(&epoch).is_some_and(|parts| parts.len() == self.workers);
        if self.writing || !complete {
            return None;
        }
        for part in self.durable.remove(&epoch)? {
            self.chains.get_mut(part.worker as usize)?.extend(part);
        }
        self.writing = true;
        let drained = self.finish.is_some_and(|finish| finish.drain && finish.last == epoch);
        Some(Action::Commit { epoch, drained, chains: self.chains.clone(), control: self.changes.log() })
    }

    fn end(&mut self) -> Option<Action> {
        let drained = self.exhausted.len() == self.workers;
        if self.finish.is_some() || !(drained || self.stop) {
            return None;
        }
        let finish = Finish { last: self.running, drain: drained };
        self.finish = Some(finish);
        self.changes.close(drained);
        Some(Action::Broadcast(ToWorker::Finish(finish)))
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        if self.next_tick(now)? > Duration::ZERO {
            return None;
        }
        self.running = self.running.next();
        self.running_since = now;
        if self.cut.take().is_some() {
            return Some(Action::Broadcast(ToWorker::Tick(self.running)));
        }
        self.pace = self.pace.saturating_mul(2).min(self.interval);
        Some(Action::Broadcast(ToWorker::Tick(self.running)))
    }
}

#[cfg(test)]
mod tests {
    use tidemill_state::{BaseEntry, DeltaEntry};

    use super::super::protocol::Unpublished;
    use super::*;

    fn durable_of(worker: u32, delta: DeltaEntry, base: Option<BaseEntry>, unpublished: Unpublished) -> Durable {
        let (epoch, delta) = (Epoch(delta.epoch), Some(delta));
        Durable { worker, epoch, delta, base, rewritten: Vec::new(), unpublished }
    }

    fn durable(worker: u32, epoch: u64) -> ToLeader {
        let delta = DeltaEntry { epoch, file: format!("{epoch}-{worker}"), len: 1, crc32: 0 };
        ToLeader::Durable(durable_of(worker, delta, None, Unpublished::default()))
    }

    fn leader(now: Instant) -> Leader {
        let mut leader = Leader::new(
            vec![Chain::default(); 2],
            ChangeQueue::new(1, Vec::new()),
            Duration::from_secs(1),
            Epoch(1),
            now,
        );
        assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Tick(Epoch(1)))), "sources may begin");
        leader
    }

    #[test]
    fn an_epoch_is_committed_when_every_worker_is_durable_and_in_order() {
        let now = crate::threads::now();
        let mut leader = leader(now);
        leader.hear(durable(0, 2), now);
        leader.hear(durable(1, 2), now);
        leader.hear(durable(0, 1), now);
        assert_eq!(leader.decide(now), None);
        leader.hear(durable(1, 1), now);
        assert!(matches!(leader.decide(now), Some(Action::Commit { epoch: Epoch(1), .. })));
        assert_eq!(leader.decide(now), None, "one manifest at a time");
        assert_eq!(leader.committed(Epoch(1)), Action::Broadcast(ToWorker::Committed(Epoch(1))));
        assert!(matches!(leader.decide(now), Some(Action::Commit { epoch: Epoch(2), .. })));
    }

    #[test]
    fn the_clock_stops_while_commits_lag() {
        let mut now = crate::threads::now();
        let mut leader = leader(now);
        for epoch in 2..=4 {
            now += Duration::from_secs(1);
            assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Tick(Epoch(epoch)))));
        }
        now += Duration::from_secs(10);
        assert_eq!(leader.decide(now), None);
    }

    #[test]
    fn a_checkpoint_that_was_asked_for_comes_at_once_and_the_clock_goes_on() {
        let now = crate::threads::now();
        let mut leader = leader(now);
        leader.hear(ToLeader::Checkpoint, now);
        assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Tick(Epoch(2)))));
        assert_eq!(leader.decide(now), None, "once");
        assert_eq!(leader.next_tick(now), Some(Leader::FIRST_PACE));
    }

    #[test]
    fn an_epoch_that_fills_the_memory_ends_early_and_one_that_has_just_begun_does_not() {
        let now = crate::threads::now();
        let mut leader = leader(now);
        leader.hear(ToLeader::Full(Epoch(1)), now);
        assert_eq!((leader.decide(now), leader.next_tick(now)), (None, Some(SHORTEST_EPOCH)));
        let later = now + SHORTEST_EPOCH;
        assert_eq!(leader.decide(later), Some(Action::Broadcast(ToWorker::Tick(Epoch(2)))));
        leader.hear(ToLeader::Full(Epoch(1)), now);
        assert_eq!(leader.next_tick(later), Some(Leader::FIRST_PACE), "another worker meant the epoch before");
        leader.hear(ToLeader::Full(Epoch(2)), now);
        leader.hear(ToLeader::Checkpoint, now);
        assert_eq!(leader.decide(later), Some(Action::Broadcast(ToWorker::Tick(Epoch(3)))));
    }

    #[test]
    fn the_first_epochs_are_short_so_that_a_job_that_is_killed_soon_gets_on() {
        let begun = crate::threads::now();
        let mut leader = leader(begun);
        let (mut now, mut lengths) = (begun, Vec::new());
        for epoch in 2..=8 {
            let length = leader.next_tick(now).unwrap();
            now += length;
            lengths.push(length.as_millis());
            assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Tick(Epoch(epoch)))));
            leader.committed(Epoch(epoch - 1));
        }
        assert_eq!(lengths, [100, 200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn the_end_comes_when_all_sources_are_exhausted_and_drains() {
        let now = crate::threads::now();
        let mut leader = leader(now);
        leader.hear(ToLeader::Exhausted { worker: 0 }, now);
        assert_eq!(leader.decide(now), None);
        leader.hear(ToLeader::Exhausted { worker: 1 }, now);
        let finish = Finish { last: Epoch(1), drain: true };
        assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Finish(finish))));
        assert_eq!(leader.decide(now + Duration::from_secs(9)), None, "no tick after the finish");
    }

    #[test]
    fn a_stop_does_not_drain() {
        let now = crate::threads::now();
        let mut leader = leader(now);
        leader.hear(ToLeader::Stop, now);
        let finish = Finish { last: Epoch(1), drain: false };
        assert_eq!(leader.decide(now), Some(Action::Broadcast(ToWorker::Finish(finish))));
    }

    #[test]
    fn a_base_makes_older_deltas_needless_unless_their_output_is_unpublished() {
        let entry = |epoch| DeltaEntry { epoch, file: epoch.to_string(), len: 1, crc32: 0 };
        let base = BaseEntry { epoch: 3, dir: "base".to_owned(), files: Vec::new() };
        let mut chain = Chain(WorkerEntry { base: None, deltas: vec![entry(1), entry(2)] });
        let mut unpublished = Unpublished { committed: Epoch(2), epochs: [Epoch(2)].into() };
        let kept = |chain: &Chain| chain.0.deltas.iter().map(|d| d.epoch).collect::<Vec<_>>();
        chain.extend(durable_of(0, entry(3), Some(base.clone()), unpublished.clone()));
        assert_eq!(kept(&chain), [2, 3]);
        // A sink that is far behind keeps its own deltas, and not those of others.
        let base = BaseEntry { epoch: 5, ..base };
        unpublished.committed = Epoch(4);
        chain.extend(durable_of(0, entry(4), None, unpublished.clone()));
        chain.extend(durable_of(0, entry(5), Some(base), unpublished));
        assert_eq!(kept(&chain), [2, 5]);
    }

    #[test]
    fn a_delta_that_was_written_anew_takes_the_place_of_the_lost_one() {
        let entry = |epoch, len| DeltaEntry { epoch, file: epoch.to_string(), len, crc32: 0 };
        let mut chain = Chain(WorkerEntry { base: None, deltas: vec![entry(1, 9), entry(2, 9)] });
        let rewritten = vec![entry(1, 4)];
        chain.extend(Durable { rewritten, ..durable_of(0, entry(3, 9), None, Unpublished::default()) });
        assert_eq!(chain.0.deltas, [entry(1, 4), entry(2, 9), entry(3, 9)]);
    }
}
