//! Compares a table with a map: it is changed, sealed in slices, evicted and read back in any order.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::claim::{Starter, nothing};
use crate::checkpoint::delta::Delta;
use crate::checkpoint::manifest::{Manifest, WorkerEntry};
use crate::checkpoint::store::MemoryStore;
use crate::codec;
use crate::error::ErrorKind;
use crate::evolve::changes::Changes;
use crate::evolve::spec::{StateName, Ttl, TtlClock};
use crate::hot::persistent::Persistent;
use crate::hot::value::ValueTable;
use crate::key::hash_key;
use crate::soak;
use crate::worker::{MemoryCheckpoint, RestoredWorker, WorkerState, WorkerStateConfig};

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u32),
    Add(u8),
    Remove(u8),
    Read(u8),
    /// Ends the epoch.
    End,
    /// Writes this number of further entries of the ended epoch.
    Write(usize),
    /// Applies the next delta to RocksDB, and evicts.
    Apply,
    /// Loads keys ahead: those in memory, those evicted, removed ones, and ones that never were.
    Ahead(Vec<u8>),
    /// Loads this number of restored rows.
    Load(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..24_u8;
    let step = prop_oneof![
        4 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
        4 => key().prop_map(Step::Add),
        3 => key().prop_map(Step::Remove),
        3 => key().prop_map(Step::Read),
        1 => Just(Step::End),
        2 => (0..6_usize).prop_map(Step::Write),
        1 => Just(Step::Apply),
        2 => (0..4_usize).prop_map(Step::Load),
        3 => prop::collection::vec(key(), 0..12).prop_map(Step::Ahead),
    ];
    prop::collection::vec(step, 1..250)
}

fn spec() -> StateSpec {
    let name = StateName { operator: "op".to_owned(), state: "values".to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// A checkpoint: the values of its base, and the values that each later epoch puts or removes.
type Stored = (BTreeMap<u8, u32>, Vec<BTreeMap<u8, Option<u32>>>);

fn checkpoints() -> impl Strategy<Value = Stored> {
    let (values, changes) = (prop::collection::btree_map(0..24_u8, any::<u32>(), 0..24), any::<Option<u32>>());
    (values, prop::collection::vec(prop::collection::btree_map(0..24_u8, changes, 0..8), 0..3))
}

/// Restores a checkpoint, whose rows are loaded later. Returns its changes, the base first, and its values.
fn restore(config: WorkerStateConfig, (base, epochs): &Stored) -> (WorkerState, Vec<Delta>, BTreeMap<u8, u32>) {
    let mut map = BTreeMap::new();
    let of_base = base.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let changes = [&of_base].into_iter().chain(epochs);
    let deltas: Vec<Delta> = (1..)
        .zip(changes)
        .map(|(epoch, changes)| {
            let mut delta = Delta::new(epoch, 0);
            let (ops, mut row) = (delta.section("op/values"), Vec::new());
            for (key, value) in changes {
                codec::row_key(config.key_groups.of_hash(hash_key(key)), key, &mut row).unwrap();
                match value {
                    Some(value) => {
                        map.insert(*key, *value);
                        ops.put_with(&row, |out| {
                            out.push(1);
                            codec::encode(value, out)
                        })
                        .unwrap();
                    }
                    None => {
                        map.remove(key);
                        ops.delete(&row);
                    }
                }
            }
            delta
        })
        .collect();
    let store = Arc::new(MemoryStore::default());
    let db = Db::simulated(1);
    db.apply(&deltas[0], |_| true).unwrap();
    let base = Some(db.snapshot().unwrap().store(store.as_ref(), 1, 0, 7).unwrap());
    let stored = deltas[1..].iter().map(|delta| delta.store(store.as_ref(), 7).unwrap()).collect();
    let mut was = WorkerState::in_memory(config.clone(), &MemoryCheckpoint::default()).unwrap();
    was.value_table::<u8, u32>(spec()).unwrap();
    let starter = Starter { job: "job", key_groups: 4, incarnation: 7, now_ms: 0 };
    let manifest = Manifest {
        epoch: deltas.len() as u64,
        states: was.states(),
        workers: vec![WorkerEntry { base, deltas: stored }],
        ..nothing(&starter)
    };
    let restored = RestoredWorker { manifest: Arc::new(manifest), changes: Changes::default(), store, restoring: 1 };
    (WorkerState::open(config, Some(restored)).unwrap(), deltas, map)
}

/// Returns the contents of a table that is opened on a RocksDB.
fn stored(db: &Arc<Db>) -> BTreeMap<u8, u32> {
    let groups = KeyGroups::new(4);
    let mut table = ValueTable::<u8, u32>::open(spec(), groups, Arc::clone(db), MemoryUse::new(None)).unwrap();
    let keys = 0..24;
    keys.filter_map(|key| Some((key, *table.get(hash_key(&key), &key).unwrap()?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(soak::times(32)))]

    /// Every read returns what was written, and each delta brings RocksDB to the end of its epoch, whatever happened
    /// while it was written.
    #[test]
    fn a_table_is_a_map_and_its_epochs_are_cuts(
        steps in steps(),
        limit in prop_oneof![Just(None), (300..3000_u64).prop_map(Some)],
        restored in prop::option::of(checkpoints()),
    ) {
        let config = WorkerStateConfig {
            dir: None,
            key_groups: KeyGroups::new(4),
            worker: 0,
            workers: 1,
            memory_limit_bytes: limit,
            durable: true,
        };
        let (mut worker_state, base, mut map) = match restored {
            None => (WorkerState::in_memory(config, &MemoryCheckpoint::default()).unwrap(), Vec::new(), BTreeMap::new()),
            Some(checkpoint) => restore(config, &checkpoint),
        };
        let table = worker_state.value_table::<u8, u32>(spec()).unwrap();
        let mut states = worker_state.operator("op");
        let mirror = Arc::new(Db::in_memory(0).unwrap());
        base.iter().try_for_each(|delta| mirror.apply(delta, |_| true)).unwrap();
        prop_assert_eq!(&stored(&mirror), &map, "before the first epoch");
        let mut epoch = base.len() as u64;
        // The epoch that is being written, and the contents of the table at its end.
        let mut open: Option<(Delta, BTreeMap<u8, u32>)> = None;
        let waiting = RefCell::new(VecDeque::new());
        let check = |delta: Delta, at_end: &BTreeMap<u8, u32>| {
            mirror.apply(&delta, |_| true).unwrap();
            prop_assert_eq!(&stored(&mirror), at_end, "after epoch {}", delta.epoch());
            waiting.borrow_mut().push_back(delta);
            Ok(())
        };
        for step in steps.into_iter().chain([Step::End, Step::Write(usize::MAX)]) {
            match step {
                Step::Put(key, value) => {
                    table.borrow_mut().put(hash_key(&key), &key, value).unwrap();
                    map.insert(key, value);
                }
                Step::Add(key) => {
                    let mut table = table.borrow_mut();
                    let value = table.get_or_insert_with(hash_key(&key), &key, || 0).unwrap();
                    *value = value.wrapping_add(1);
                    let in_map = map.entry(key).or_insert(0);
                    *in_map = in_map.wrapping_add(1);
                }
                Step::Remove(key) => {
                    let removed = table.borrow_mut().remove(hash_key(&key), &key).unwrap();
                    prop_assert_eq!(removed, map.remove(&key));
                }
                Step::Read(key) => {
                    states.prefetch(&[hash_key(&key)]);
                    let read = table.borrow_mut().get(hash_key(&key), &key).unwrap().copied();
                    prop_assert_eq!(read, map.get(&key).copied());
                }
                Step::End => {
                    if let Some((mut delta, at_end)) = open.take() {
                        prop_assert!(states.seal_on(usize::MAX, &mut delta).unwrap());
                        check(delta, &at_end)?;
                    }
                    epoch += 1;
                    states.begin_seal(epoch, 0, 0).unwrap();
                    open = Some((Delta::new(epoch, 0), map.clone()));
                }
                Step::Write(entries) => {
                    if let Some((mut delta, at_end)) = open.take() {
                        match states.seal_on(entries, &mut delta).unwrap() {
                            true => check(delta, &at_end)?,
                            false => open = Some((delta, at_end)),
                        }
                    }
                }
                Step::Ahead(keys) => states.load_ahead(&keys).unwrap(),
                Step::Load(rows) => drop(worker_state.load_on(rows).unwrap()),
                Step::Apply => {
                    if let Some(delta) = waiting.borrow_mut().pop_front() {
                        worker_state.db().push(Arc::new(delta)).unwrap();
                        worker_state.db().apply_pending().unwrap();
                    }
                    worker_state.evict(0);
                }
            }
        }
        prop_assert!(open.is_none());
        for key in 0..24 {
            let read = table.borrow_mut().get(hash_key(&key), &key).unwrap().copied();
                    prop_assert_eq!(read, map.get(&key).copied());
        }
    }
}

#[test]
fn a_ttl_that_is_none_is_refused_by_state_and_value() {
    let micros = Duration::from_micros;
    for (after, shown) in
        [(micros(0), "0ns"), (micros(1_500), "1.5ms"), (Duration::from_secs(u64::MAX), "18446744073709551615s")]
    {
        let config = WorkerStateConfig {
            dir: None,
            key_groups: KeyGroups::new(4),
            worker: 0,
            workers: 1,
            memory_limit_bytes: None,
            durable: false,
        };
        let spec = StateSpec { ttl: Some(Ttl { after, clock: TtlClock::EventTime }), ..spec() };
        let error = WorkerState::open(config, None).unwrap().value_table::<u32, i64>(spec).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("its values live for {shown}")), "{error}");
    }
}

/// The load of each millisecond: the number of new keys, and whether an old key is written again or removed.
#[derive(Clone, Copy, Debug)]
struct Load {
    new_per_ms: u32,
    again: bool,
    removed: bool,
    /// How far the watermark is behind, and how late records may be.
    behind_ms: i64,
    after_ms: i64,
    epoch_ms: i64,
    durable: bool,
    clock: TtlClock,
}

fn loads() -> impl Strategy<Value = Load> {
    let clock = prop_oneof![Just(TtlClock::EventTime), Just(TtlClock::ProcessingTime)];
    let times = (0..8_i64, prop_oneof![1..20_i64, 20..200_i64], prop_oneof![1..20_i64, 20..2_000_i64]);
    (1..50_u32, any::<[bool; 3]>(), times, clock).prop_map(
        |(new_per_ms, [again, removed, durable], (behind_ms, after_ms, epoch_ms), clock)| {
            let behind_ms = if clock == TtlClock::EventTime { behind_ms } else { 0 };
            Load { new_per_ms, again, removed, behind_ms, after_ms, epoch_ms, durable, clock }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(soak::times(24)))]

    /// Memory has about as many entries as are live, at any rate of new keys and with epochs of any length: expired
    /// entries are removed as fast as new ones come. Each key lives exactly as long as it should, and about the live
    /// keys are stored.
    #[test]
    fn with_a_ttl_memory_holds_what_lives(load in loads()) {
        let Load { new_per_ms, again, removed, behind_ms, after_ms, epoch_ms, durable, clock } = load;
        let dir = tempfile::tempdir().unwrap();
        let config = WorkerStateConfig {
            dir: Some(dir.path().to_owned()),
            key_groups: KeyGroups::new(4),
            worker: 0,
            workers: 1,
            memory_limit_bytes: None,
            durable,
        };
        let mut worker_state = WorkerState::open(config, None).unwrap();
        let spec = StateSpec { ttl: Some(Ttl { after: Duration::from_millis(after_ms as u64), clock }), ..spec() };
        let table = worker_state.value_table::<u32, i64>(spec).unwrap();
        let mut states = worker_state.operator("op");
        let (mut expires, mut next, mut epoch) = (BTreeMap::<u32, i64>::new(), 0_u32, 0);
        let (mut lived, mut most, mut sealed) = (0, 0, 0);
        let whole = 4 * after_ms + 2 * epoch_ms.min(4 * after_ms);
        for now in 0..whole {
            // Some records are as late as allowed.
            let at = |n: u32| now - i64::from(n) % (behind_ms + 1);
            let write = |key: u32, time: i64, expires: &mut BTreeMap<u32, i64>| {
                let mut table = table.borrow_mut();
                table.set_now(time, now);
                table.put(hash_key(&key), &key, time).unwrap();
                expires.insert(key, if clock == TtlClock::EventTime { time } else { now } + after_ms);
            };
            (next..next + new_per_ms).for_each(|key| write(key, at(key), &mut expires));
            next += new_per_ms;
            if again {
                write(next.saturating_sub(new_per_ms * 3), now, &mut expires);
            }
            if removed {
                let key = next.saturating_sub(7);
                let mut table = table.borrow_mut();
                table.set_now(now, now);
                let lived = expires.remove(&key).is_some_and(|expires| expires > now);
                prop_assert_eq!(table.remove(hash_key(&key), &key).unwrap().is_some(), lived, "key {}", key);
            }
            let passed = now - behind_ms;
            states.pass(passed, now);
            expires.retain(|_, expires| *expires > passed);
            lived = lived.max(expires.len());
            // Entries that a delta has stay in memory after they expire, until the next delta has their removal.
            most = most.max(table.borrow().hot_len() - if durable { sealed } else { 0 });
            for key in [next - 1, next / 2, next.saturating_sub(new_per_ms * after_ms as u32)] {
                table.borrow_mut().set_now(now, now);
                let read = table.borrow_mut().get(hash_key(&key), &key).unwrap().is_some();
                prop_assert_eq!(read, expires.get(&key).is_some_and(|expires| *expires > now), "key {}", key);
            }
            if now % epoch_ms == epoch_ms - 1 {
                epoch += 1;
                states.begin_seal(epoch, passed, now).unwrap();
                let mut delta = Delta::new(epoch, 0);
                states.seal_on(usize::MAX, &mut delta).unwrap();
                worker_state.db().push(Arc::new(delta)).unwrap();
                sealed = table.borrow().hot_len();
            }
        }
        // Expired entries stay for up to 1/32 of the TTL, and while the queue of due ones is worked off.
        let bound = lived + lived / 16 + new_per_ms as usize * 8 + 64;
        prop_assert!(most <= bound, "{} entries are in memory, {} lived", most, lived);
        if durable {
            states.begin_seal(epoch + 1, whole - 1 - behind_ms, whole - 1).unwrap();
            let mut delta = Delta::new(epoch + 1, 0);
            states.seal_on(usize::MAX, &mut delta).unwrap();
            worker_state.db().push(Arc::new(delta)).unwrap();
            worker_state.db().apply_pending().unwrap();
            let stored = table.borrow().stored_keys().unwrap();
            let gone = |key: &&u32| !expires.contains_key(key);
            prop_assert!(stored.iter().filter(gone).count() <= bound - lived, "{} rows, {} live", stored.len(), expires.len());
            prop_assert!(expires.keys().all(|key| stored.contains(key)));
        }
    }
}

/// What the running epoch has changed cannot be evicted before its delta is applied. So it should end, and that is said
/// once, when all epochs before it are applied.
#[test]
fn an_epoch_whose_changes_take_most_of_the_memory_should_end() {
    let config = WorkerStateConfig {
        dir: None,
        key_groups: KeyGroups::new(4),
        worker: 0,
        workers: 1,
        memory_limit_bytes: Some(64 << 10),
        durable: true,
    };
    let mut worker_state = WorkerState::in_memory(config, &MemoryCheckpoint::default()).unwrap();
    let table = worker_state.value_table::<u64, u64>(spec()).unwrap();
    let mut states = worker_state.operator("op");
    let fill =
        |keys: std::ops::Range<u64>| keys.for_each(|key| table.borrow_mut().put(hash_key(&key), &key, key).unwrap());
    let asked = |worker_state: &mut WorkerState, running| (0..3).filter(|_| worker_state.evict(running)).count();
    fill(0..10);
    assert_eq!(asked(&mut worker_state, 1), 0, "there is room");
    fill(10..5000);
    assert_eq!(asked(&mut worker_state, 2), 0, "epoch 1 has ended, and frees some");
    fill(5000..9000);
    assert_eq!(asked(&mut worker_state, 1), 1);
    assert!(worker_state.is_full());
    for epoch in 1..4 {
        states.begin_seal(epoch, 0, 0).unwrap();
        let mut delta = Delta::new(epoch, 0);
        assert!(states.seal_on(usize::MAX, &mut delta).unwrap());
        worker_state.db().push(Arc::new(delta)).unwrap();
        worker_state.db().apply_pending().unwrap();
        assert_eq!(asked(&mut worker_state, epoch + 1), 0, "all of it can be evicted");
        assert!(!worker_state.is_full());
        fill(0..9000);
        assert_eq!(asked(&mut worker_state, epoch + 1), 1, "{epoch}");
    }
}
