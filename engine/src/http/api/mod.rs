//! The answers of `/api/v1`: each is data that serde writes, in a file of its own. `openapi.json` describes them.

pub(super) mod changes;
pub(super) mod checkpoints;
pub(super) mod drift;
pub(super) mod graph;
pub(super) mod history;
pub(super) mod hotkeys;
pub(super) mod inference;
pub(super) mod job;
pub(super) mod logs;
pub(super) mod operators;

/// Adds what another process says to what is known: each thing to the one that is the same, or as a new one.
fn add_each<T>(
    known: &mut Vec<T>,
    others: impl IntoIterator<Item = T>,
    same: impl Fn(&T, &T) -> bool,
    add: impl Fn(&mut T, T),
) {
    for other in others {
        match known.iter_mut().find(|own| same(own, &other)) {
            Some(own) => add(own, other),
            None => known.push(other),
        }
    }
}
