use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::delta::Delta;
use crate::checkpoint::manifest::WorkerEntry;
use crate::checkpoint::store::MemoryStore;
use crate::evolve::spec::StateEntry;
use crate::inspect::count;
use crate::rows::db::Db;

/// The rows of one state, by key group and the rest of the key.
type Rows = BTreeMap<(u16, u8), Vec<u8>>;

const STATES: [&str; 2] = ["counts/value", "sums/value"];

fn key((group, rest): (u16, u8)) -> Vec<u8> {
    [&group.to_be_bytes()[..], &[0, 0, 0, 1, rest]].concat()
}

/// Commits a checkpoint that has these rows, partly in bases and partly in deltas on top of them.
fn checkpoint(store: &MemoryStore, epoch: u64, states: &[Rows], workers: u16) -> Manifest {
    let of_worker = |worker: u16| {
        let (mut below, mut above) = (Delta::new(epoch - 1, worker.into()), Delta::new(epoch, worker.into()));
        for (state, rows) in STATES.iter().zip(states) {
            for (at, value) in rows.iter().filter(|((group, _), _)| group % workers == worker) {
                match at.1 % 3 {
                    0 => below.section(state).put(&key(*at), value).unwrap(),
                    1 => above.section(state).put(&key(*at), value).unwrap(),
                    _ => {
                        below.section(state).put(&key(*at), b"old").unwrap();
                        above.section(state).put(&key(*at), value).unwrap();
                    }
                }
            }
            // A row that is only in the base.
            below.section(state).put(&key((worker, 200)), b"gone").unwrap();
            above.section(state).delete(&key((worker, 200)));
        }
        let db = Db::simulated(epoch - 2);
        db.push(Arc::new(below)).unwrap();
        let base = db.snapshot().unwrap().store(store, epoch - 1, worker.into(), epoch).unwrap();
        WorkerEntry { base: Some(base), deltas: vec![above.store(store, epoch).unwrap()] }
    };
    let state = |name: &&str| StateEntry {
        name: (*name).to_owned(),
        version: 1,
        kind: "value".to_owned(),
        layout: None,
        parameters: None,
    };
    let (job, states) = ("job".to_owned(), STATES.iter().map(state).collect());
    let (format_version, incarnation) = (Manifest::FORMAT_VERSION, epoch);
    let workers = (0..workers).map(of_worker).collect();
    let (created_ms, key_groups, finished) = (0, 128, false);
    Manifest {
        format_version,
        job,
        epoch,
        incarnation,
        created_ms,
        key_groups,
        states,
        workers,
        finished,
        control: Vec::new(),
    }
}

fn bytes(rows: &Rows) -> u64 {
    rows.values().map(|value| 7 + value.len() as u64).sum()
}

/// What differs, by two maps in memory.
fn oracle(state: &str, before: &Rows, after: &Rows) -> StateDifference {
    let both = before.iter().filter_map(|(at, old)| Some((old, after.get(at)?)));
    let same = both.clone().filter(|(old, new)| old == new).count() as u64;
    let both = both.count() as u64;
    StateDifference {
        state: state.to_owned(),
        added: after.len() as u64 - both,
        removed: before.len() as u64 - both,
        changed: both - same,
        same,
        bytes_before: bytes(before),
        bytes_after: bytes(after),
    }
}

fn rows() -> impl Strategy<Value = Rows> {
    // Some values are so long that rows are read in several pieces.
    let value = (0..3_u8, prop_oneof![9 => 1..4_usize, 1 => Just(600_000)]).prop_map(|(byte, len)| vec![byte; len]);
    proptest::collection::btree_map((0..6_u16, 0..12_u8), value, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_differs_is_what_differs_between_two_maps(
        before in [rows(), rows()], after in [rows(), rows()], old in 1..4_u16, new in 1..4_u16,
    ) {
        let (store, scratch) = (MemoryStore::default(), tempfile::tempdir().unwrap());
        let (first, second) = (checkpoint(&store, 5, &before, old), checkpoint(&store, 9, &after, new));
        let of = |manifest| Compared { store: &store, manifest };
        let found = compare(of(&first), of(&second), scratch.path()).unwrap();
        let expected: Vec<StateDifference> =
            STATES.iter().enumerate().map(|(at, state)| oracle(state, &before[at], &after[at])).collect();
        prop_assert_eq!(found, expected);
        for (at, size) in count(&store, &second, scratch.path()).unwrap().into_iter().enumerate() {
            let groups: BTreeSet<u16> = after[at].keys().map(|(group, _)| *group).collect();
            let workers: BTreeSet<u16> = groups.iter().map(|group| group % new).collect();
            prop_assert_eq!((size.rows, size.bytes), (after[at].len() as u64, bytes(&after[at])));
            prop_assert_eq!((size.key_groups, size.workers), (groups.len() as u64, workers.len() as u64));
        }
    }
}
