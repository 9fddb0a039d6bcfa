//! Plays roles in threads, one at a time, in a given order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use super::*;
use crate::checkpoint::store::{BaseEntry, BaseFile};

/// A scheduler that lets one of several threads make its next call to the store. A thread that has made a call chooses
/// the next thread. That is often the same thread, and then no other has to be woken.
struct Turns<C> {
    state: Mutex<TurnState<C>>,
    called: Vec<Condvar>,
}

struct TurnState<C> {
    choose: C,
    turn: Option<usize>,
    /// Number of threads that have not come to their first call yet. No call is made before all have.
    missing: usize,
    playing: Vec<usize>,
}

impl<C: FnMut(usize) -> usize> Turns<C> {
    fn of(roles: usize, choose: C) -> Self {
        let state = TurnState { choose, turn: None, missing: roles, playing: (0..roles).collect() };
        Self { state: Mutex::new(state), called: (0..roles).map(|_| Condvar::new()).collect() }
    }

    fn call_next(&self, state: &mut TurnState<C>) {
        state.turn = match state.playing.len() {
            0 => None,
            able => state.playing.get((state.choose)(able)).copied(),
        };
        if let Some(next) = state.turn {
            self.called[next].notify_one();
        }
    }

    fn wait(&self, who: usize, is_first: bool) {
        let mut state = self.state.lock().unwrap();
        state.missing -= usize::from(is_first);
        if state.missing == 0 {
            self.call_next(&mut state);
        }
        drop(self.called[who].wait_while(state, |state| state.turn != Some(who)).unwrap());
    }

    fn done(&self, who: usize) {
        let mut state = self.state.lock().unwrap();
        state.playing.retain(|playing| *playing != who);
        self.call_next(&mut state);
    }
}

/// The store as one of the roles sees it.
struct Seen<'t, C> {
    store: &'t MemoryStore,
    turns: &'t Turns<C>,
    who: usize,
    began: AtomicBool,
}

impl<C: FnMut(usize) -> usize> Seen<'_, C> {
    fn turn(&self) -> &MemoryStore {
        self.turns.wait(self.who, !self.began.swap(true, Ordering::Relaxed));
        self.store
    }
}

impl<C: FnMut(usize) -> usize + Send> CheckpointStore for Seen<'_, C> {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.turn().put_new(name, bytes)
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.turn().put(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        self.turn().get(name)
    }
    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        self.turn().len(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        self.turn().list(folder)
    }
    fn delete(&self, name: &str) -> Result<(), StateError> {
        self.turn().delete(name)
    }
    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError> {
        self.turn().adopt(name, folder)
    }
    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError> {
        self.turn().fetch(base, folder)
    }
    fn locate(&self, name: &str) -> String {
        self.store.locate(name)
    }
}

/// Plays the roles in the order of `choose`, which gets the number of roles that can continue and returns which does.
/// Returns the result.
fn play_all(roles: &[Role], empty: bool, choose: impl FnMut(usize) -> usize + Send) -> (MemoryStore, Vec<Event>) {
    let (store, turns) = (stage(roles, empty), Turns::of(roles.len(), choose));
    let events = Mutex::new(Vec::new());
    let ends = std::thread::scope(|scope| {
        let players: Vec<_> = roles
            .iter()
            .enumerate()
            .map(|(who, role)| {
                let seen = Seen { store: &store, turns: &turns, who, began: AtomicBool::new(false) };
                let events = &events;
                scope.spawn(move || {
                    let end = play(*role, who, &seen, &|event| events.lock().unwrap().push(event));
                    seen.turns.done(who);
                    end
                })
            })
            .collect();
        players.into_iter().map(|player| player.join().unwrap()).collect::<Vec<_>>()
    });
    let events = events.into_inner().unwrap();
    for end in ends {
        assert!(end.is_ok(), "{end:?} in {events:?}");
    }
    (store, events)
}

/// Plays the roles in the order of `choose`, and checks the result.
pub(super) fn play_and_check(roles: &[Role], empty: bool, choose: impl FnMut(usize) -> usize + Send) {
    let (store, events) = play_all(roles, empty, choose);
    check_all(&store, &events);
}

/// Plays every order, one after the other. Returns the results and the number of orders.
pub(super) fn ends_of_every(roles: &[Role]) -> (HashSet<End>, u64) {
    let (mut ends, mut orders, mut prefix) = (HashSet::new(), 0, Vec::new());
    loop {
        let mut made: Vec<(usize, usize)> = Vec::new();
        let (store, events) = play_all(roles, false, |able| {
            let choice = prefix.get(made.len()).copied().unwrap_or(0);
            made.push((choice, able));
            choice
        });
        ends.insert(End::of(&store, &events));
        orders += 1;
        while made.last().is_some_and(|(choice, able)| choice + 1 == *able) {
            made.pop();
        }
        let Some((last, _)) = made.pop() else { return (ends, orders) };
        prefix = made.into_iter().map(|(choice, _)| choice).collect();
        prefix.push(last + 1);
    }
}
