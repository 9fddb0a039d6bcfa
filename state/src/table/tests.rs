//! A table against a map: changed, sealed in slices, evicted and read back in any order.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::backend::{Backend, BackendConfig};
use crate::delta::Delta;
use crate::key::hash_key;
use crate::spec::StateName;
use crate::value::ValueTable;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u32),
    Add(u8),
    Remove(u8),
    Read(u8),
    /// The epoch ends.
    End,
    /// So many entries more of it are written.
    Write(usize),
    /// RocksDB takes in the next delta, and what it has may be evicted.
    Apply,
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
    ];
    prop::collection::vec(step, 1..250)
}

fn spec() -> StateSpec {
    let name = StateName { operator: "op".to_owned(), state: "values".to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// What a table opened on a RocksDB holds.
fn stored(db: &Arc<Db>) -> BTreeMap<u8, u32> {
    let groups = KeyGroups::new(4);
    let mut table = ValueTable::<u8, u32>::open(spec(), groups, Arc::clone(db), MemoryUse::new(None)).unwrap();
    let keys = 0..24;
    keys.filter_map(|key| Some((key, *table.get(hash_key(&key), &key).unwrap()?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// What is read is what was written; and each delta brings RocksDB to the end of its epoch, whatever
    /// happened while it was written.
    #[test]
    fn a_table_is_a_map_and_its_epochs_are_cuts(steps in steps(), limit in prop_oneof![Just(None), (300..3000_u64).prop_map(Some)]) {
        let (dir, mirror_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut backend = Backend::open(
            BackendConfig {
                dir: Some(dir.path().to_owned()),
                key_groups: KeyGroups::new(4),
                worker: 0,
                workers: 1,
                memory_limit_bytes: limit,
                durable: true,
            },
            None,
        ).unwrap();
        let table = backend.value_table::<u8, u32>(spec()).unwrap();
        let mut states = backend.operator("op");
        let mirror = Arc::new(Db::open(mirror_dir.path(), 0, true).unwrap());
        let mut map: BTreeMap<u8, u32> = BTreeMap::new();
        let mut epoch = 0;
        // The epoch that is being written, and what it ended with.
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
                    states.warm(&[hash_key(&key)]);
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
                Step::Apply => {
                    if let Some(delta) = waiting.borrow_mut().pop_front() {
                        backend.db().push(Arc::new(delta)).unwrap();
                        backend.db().apply_pending().unwrap();
                    }
                    backend.relieve();
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
