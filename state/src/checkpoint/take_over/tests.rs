//! Tests of several runs of a job with one checkpoint directory, in every order of their calls to the store: there is
//! one line of history, and the run that started last continues.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::claim::nothing;
use crate::checkpoint::manifest::WorkerEntry;
use crate::checkpoint::retention::Retention;
use crate::checkpoint::store::{LocalStore, MemoryStore};
use crate::evolve::spec::StateEntry;
use crate::soak;

mod orders;
mod turns;

fn starter(incarnation: u64) -> Starter<'static> {
    Starter { job: "job", key_groups: 128, incarnation, now_ms: 1_764_300_000_000 }
}

/// Returns a checkpoint whose states are a line of history: which run committed which epoch.
fn manifest(incarnation: u64, epoch: u64, line: &[String]) -> Manifest {
    let entry = |name: &String| StateEntry {
        name: name.clone(),
        version: 1,
        kind: "value".to_owned(),
        layout: None,
        parameters: None,
    };
    Manifest {
        incarnation,
        epoch,
        states: line.iter().map(entry).collect(),
        workers: vec![WorkerEntry::default()],
        ..nothing(&starter(incarnation))
    }
}

fn line_of(manifest: Option<&Manifest>) -> Vec<String> {
    manifest.into_iter().flat_map(|manifest| manifest.states.iter().map(|state| state.name.clone())).collect()
}

/// The behaviour of a run.
#[derive(Clone, Copy, Debug)]
struct Role {
    /// Whether the run is already running and has committed epoch 1; otherwise it starts.
    runs: bool,
    /// Whether the start is refused, before it has changed anything but its claim.
    refused: bool,
    /// Whether the start has already claimed a number at the beginning of the test; such a start is then refused.
    claimed: bool,
    commits: u64,
    /// Number of checkpoints that the run keeps.
    keeps: usize,
}

const RUNS: Role = Role { runs: true, refused: false, claimed: false, commits: 2, keeps: 9 };
const STARTS: Role = Role { runs: false, refused: false, claimed: false, commits: 1, keeps: 9 };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Event {
    /// The run has claimed this number.
    Claimed(usize, u64),
    Withdrew(usize),
    /// The run restored this line of commits, and published its output again.
    Restored(usize, Vec<String>),
    /// The run committed, and published the output of this line of commits.
    Published(usize, Vec<String>),
    Fenced(usize),
}

fn play(role: Role, who: usize, store: &dyn CheckpointStore, emit: &dyn Fn(Event)) -> Result<(), StateError> {
    let incarnation = who as u64 + 1;
    if role.claimed {
        let found = ManifestFile { number: 2, sha256: String::new() };
        emit(Event::Claimed(who, found.number));
        let (claim, gives_up) = (Some(found.number), None);
        Takeover {
            manifest: None,
            first_epoch: 3,
            found,
            claim,
            gives_up,
            savepoint: None,
            brought: Vec::new(),
            incarnation,
        }
        .withdraw(store)?;
        emit(Event::Withdrew(who));
        return Ok(());
    }
    let (first, mut line) = if role.runs {
        (2, vec!["0@1".to_owned()])
    } else {
        let taken = take_over(store, &RestoreFrom::Auto, &starter(incarnation))?;
        emit(Event::Claimed(who, taken.claim.expect("no job is finished")));
        if role.refused {
            taken.withdraw(store)?;
            emit(Event::Withdrew(who));
            return Ok(());
        }
        let line = line_of(taken.manifest.as_ref());
        emit(Event::Restored(who, line.clone()));
        (taken.first_epoch, line)
    };
    for epoch in first..first + role.commits {
        line.push(format!("{who}@{epoch}"));
        match manifest(incarnation, epoch, &line).commit(store) {
            Ok(()) => emit(Event::Published(who, line.clone())),
            Err(StateError::Fenced { .. }) => {
                emit(Event::Fenced(who));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        Retention { keep: role.keeps }.prune(store)?;
    }
    Ok(())
}

/// Creates the store for a test: with a first checkpoint or empty, and with the claims of the roles that have claimed.
fn stage(roles: &[Role], empty: bool) -> MemoryStore {
    let store = MemoryStore::default();
    if !empty {
        manifest(1, 1, &["0@1".to_owned()]).commit(&store).unwrap();
    }
    for (who, _) in roles.iter().enumerate().filter(|(_, role)| role.claimed) {
        assert_eq!(take_over(&store, &RestoreFrom::Auto, &starter(who as u64 + 1)).unwrap().claim, Some(2));
    }
    store
}

/// The result of playing some roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct End {
    files: BTreeMap<String, Arc<[u8]>>,
    events: Vec<Event>,
}

impl End {
    fn of(store: &MemoryStore, events: &[Event]) -> Self {
        Self { files: store.contents(), events: events.to_vec() }
    }
}

/// Checks the result of playing some roles.
fn check_all(store: &MemoryStore, events: &[Event]) {
    check(events);
    let last = take_over(store, &RestoreFrom::Auto, &starter(99)).unwrap();
    let line = line_of(last.manifest.as_ref());
    for event in events {
        if let Event::Published(_, published) | Event::Restored(_, published) = event {
            assert!(line.starts_with(published), "{published:?} was published, {line:?} is restored: {events:?}");
        }
    }
}

fn check(events: &[Event]) {
    let stays = |who: usize| !events.contains(&Event::Withdrew(who));
    // The later of two starts is the one with the higher number. It may hear later that it has claimed it.
    let numbers: Vec<(usize, u64)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Claimed(who, number) => Some((*who, *number)),
            _ => None,
        })
        .collect();
    let number = |who: usize| numbers.iter().find(|(run, _)| *run == who).map_or(0, |(_, number)| *number);
    for (at, event) in events.iter().enumerate() {
        match event {
            // A run that continues after a start is that start or a later one.
            Event::Claimed(new, claimed) if stays(*new) => {
                for later in &events[at..] {
                    if let Event::Published(who, _) = later {
                        assert!(number(*who) >= *claimed, "{who} after {new}: {events:?}");
                    }
                }
            }
            // A run is fenced only by a later start.
            Event::Fenced(who) => {
                let by_a_later = numbers.iter().any(|(run, claimed)| run != who && *claimed > number(*who));
                assert!(by_a_later, "{who} lost to a run that started before: {events:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn in_every_order_of_a_run_and_a_start_the_start_goes_on() {
    let orders = orders::check_every(&[RUNS, STARTS], false);
    assert!(orders > 1_000_000_000, "{orders} orders");
}

#[test]
fn in_every_order_of_a_run_and_a_start_that_is_refused_there_is_one_history() {
    let orders = orders::check_every(&[Role { commits: 1, ..RUNS }, Role { refused: true, ..STARTS }], false);
    assert!(orders > 1_000_000, "{orders} orders");
}

/// A start may read a claim that is then withdrawn, and whose number the running job then commits.
#[test]
fn in_every_order_of_a_run_a_start_that_withdraws_and_another_start_the_last_goes_on() {
    let roles = [Role { commits: 1, ..RUNS }, Role { claimed: true, ..STARTS }, STARTS];
    let orders = orders::check_every(&roles, false);
    assert!(orders > 1_000_000, "{orders} orders");
}

/// Orders that are followed together have the same number and the same ends as if each of them is played in threads.
#[test]
fn orders_that_are_followed_together_are_those_that_can_be_played() {
    // Two runs that are both running without a claim: the result need not be right.
    let roles = [Role { keeps: 1, ..RUNS }, Role { commits: 1, keeps: 1, ..RUNS }];
    let (followed, played) = (orders::ends_of_every(&roles), turns::ends_of_every(&roles));
    assert!(played.1 > 100 && played.0.len() > 4, "{} orders, {} ends", played.1, played.0.len());
    assert_eq!(followed.1, u128::from(played.1), "orders");
    assert!(followed.0 == played.0, "{} ends and {}", followed.0.len(), played.0.len());
}

/// Chooses the next role at random, from a seed.
fn random(seed: u64) -> impl FnMut(usize) -> usize + Send {
    let mut order = seed | 1;
    move |able| {
        order ^= order << 13;
        order ^= order >> 7;
        order ^= order << 17;
        (order >> 33) as usize % able
    }
}

/// A run that prunes may list a claim that is withdrawn before it is read, and whose number the next start claims. Of two
/// starts not every order can be followed: they may claim and withdraw again and again.
#[test]
fn of_a_run_that_prunes_and_two_starts_that_are_refused_the_checkpoint_stays() {
    let refused = Role { refused: true, ..STARTS };
    let roles = [Role { commits: 1, keeps: 1, ..RUNS }, refused, refused];
    (0..u64::from(soak::times(4_000)))
        .for_each(|seed| turns::play_and_check(&roles, false, random(seed * 0x9e37_79b9)));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(soak::times(600)) })]

    #[test]
    fn in_any_order_of_many_runs_and_starts_there_is_one_history(
        roles in prop::collection::vec((any::<bool>(), 0..4_u64, 1..4_usize), 1..4),
        runs in any::<bool>(),
        order in any::<u64>(),
    ) {
        let mut all: Vec<Role> = roles.into_iter().map(|(refused, commits, keeps)| Role { refused, commits, keeps, ..STARTS }).collect();
        if runs {
            all.insert(0, Role { commits: 4, keeps: 1, ..RUNS });
        }
        turns::play_and_check(&all, !runs, random(order));
    }
}

#[test]
fn a_claim_goes_on_from_what_was_there_and_says_who_made_it() {
    let store = MemoryStore::default();
    let fresh = take_over(&store, &RestoreFrom::None, &starter(1)).unwrap();
    assert_eq!((fresh.first_epoch, fresh.restored_epoch()), (1, 0));
    // All processes agree on a fresh start, too, by the file of its claim.
    assert_eq!(follow(&store, &fresh.found).unwrap(), None);
    manifest(1, 1, &["a".to_owned()]).commit(&store).unwrap();
    let next = take_over(&store, &RestoreFrom::Auto, &starter(2)).unwrap();
    assert_eq!((next.first_epoch, next.restored_epoch()), (3, 1));
    assert_eq!(follow(&store, &next.found).unwrap(), next.manifest);
    let late = manifest(1, 2, &[]).commit(&store).unwrap_err().to_string();
    assert!(late.contains("another run of this job, started at 2025-11-28T03:20:00Z, has taken over"), "{late}");
    assert!(late.contains("its own checkpoint directory"), "{late}");
    // A start after a start continues from the same checkpoint.
    let again = take_over(&store, &RestoreFrom::Auto, &starter(3)).unwrap();
    assert_eq!((again.first_epoch, again.restored_epoch()), (4, 1));
    manifest(3, 4, &["b".to_owned()]).commit(&store).unwrap();
    Retention { keep: 2 }.prune(&store).unwrap();
    assert_eq!(list_epochs(&store).unwrap(), [1, 4], "claims are no checkpoints: they do not count, and do not stay");
}

#[test]
fn going_back_gives_up_later_epochs_only_when_the_start_begins() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    for epoch in 1..=3 {
        manifest(1, epoch, &[epoch.to_string()]).commit(&store).unwrap();
    }
    let auto = |incarnation| take_over(&store, &RestoreFrom::Auto, &starter(incarnation)).unwrap();
    let back = take_over(&store, &RestoreFrom::Epoch(1), &starter(2)).unwrap();
    assert_eq!((back.restored_epoch(), back.first_epoch), (1, 6));
    assert_eq!(follow(&store, &back.found).unwrap(), back.manifest, "it is in the file of epoch 1");
    back.withdraw(&store).unwrap();
    assert_eq!(list_epochs(&store).unwrap(), [1, 2, 3]);
    // After a start that died at this point, the newest checkpoint is still the same.
    let back = take_over(&store, &RestoreFrom::Epoch(1), &starter(3)).unwrap();
    assert_eq!(auto(4).restored_epoch(), 3);
    assert!(matches!(back.give_up_later(&store), Err(StateError::Fenced { .. })), "the later start goes on");
    let back = take_over(&store, &RestoreFrom::Epoch(1), &starter(5)).unwrap();
    back.give_up_later(&store).unwrap();
    assert_eq!(auto(6).restored_epoch(), 1);
    assert!(!list_epochs(&store).unwrap().contains(&3), "going back to 1 gave 3 up");
    assert!(matches!(manifest(1, 4, &[]).commit(&store), Err(StateError::Fenced { .. })));
}

#[test]
fn a_finished_job_is_not_claimed() {
    let store = MemoryStore::default();
    let last = Manifest { finished: true, ..manifest(1, 1, &[]) };
    last.commit(&store).unwrap();
    for _ in 0..2 {
        let taken = take_over(&store, &RestoreFrom::Auto, &starter(2)).unwrap();
        assert_eq!(taken.manifest.as_ref(), Some(&last));
        assert_eq!(follow(&store, &taken.found).unwrap().as_ref(), Some(&last));
    }
    assert_eq!(list_epochs(&store).unwrap(), [1]);
}

#[test]
fn another_directory_is_refused_with_both_sides_named() {
    let dirs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let stores = [0, 1].map(|at: usize| LocalStore::open(dirs[at].path()).unwrap());
    let taken = take_over(&stores[0], &RestoreFrom::Auto, &starter(1)).unwrap();
    let error = follow(&stores[1], &taken.found).unwrap_err().to_string();
    assert!(error.contains("is not there") && error.contains("checkpoint directory"), "{error}");
    take_over(&stores[1], &RestoreFrom::Auto, &starter(2)).unwrap();
    let error = follow(&stores[1], &taken.found).unwrap_err().to_string();
    assert!(error.contains(&taken.found.sha256) && error.contains("is another file"), "{error}");
}

#[test]
fn a_start_that_does_not_fit_claims_nothing() {
    let store = MemoryStore::default();
    manifest(1, 1, &[]).commit(&store).unwrap();
    let other = Starter { job: "other", ..starter(2) };
    assert!(take_over(&store, &RestoreFrom::Auto, &other).unwrap_err().to_string().contains("\"job\""));
    assert!(take_over(&store, &RestoreFrom::Epoch(7), &starter(2)).is_err());
    assert_eq!(list_epochs(&store).unwrap(), [1]);
}
