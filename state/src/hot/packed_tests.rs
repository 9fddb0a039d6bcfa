//! Compares lists with a map of queues while they are packed and unpacked, sealed in slices, evicted and read back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use crate::checkpoint::delta::{Delta, Op};
use crate::codec::{self, DecodeError};
use crate::evolve::spec::{StateName, StateSpec};
use crate::hot::log::LogTable;
use crate::hot::memory::MemoryUse;
use crate::ids::KeyGroups;
use crate::key::hash_key;
use crate::packed::*;
use crate::rows::db::Db;
use crate::soak;
use crate::worker::{MemoryCheckpoint, WorkerState, WorkerStateConfig};

const KEYS: u8 = 8;

/// The lists by key, each with its header and the number of elements that were ever taken from it.
type Lists = BTreeMap<u8, (u32, VecDeque<u64>)>;

#[derive(Clone, Debug)]
enum Step {
    Push(u8, Vec<u64>),
    Pop(u8, usize),
    Header(u8, u32),
    Remove(u8),
    Read(u8),
    End,
    Write(usize),
    /// Applies the next delta to the rows, and evicts.
    Apply,
    Ahead(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, some) = (|| 0..KEYS, prop_oneof![4 => 0..8_usize, 1 => 30..70_usize]);
    let step = prop_oneof![
        4 => (key(), some.clone()).prop_flat_map(|(key, n)| prop::collection::vec(any::<u64>(), n).prop_map(move |new| Step::Push(key, new))),
        3 => (key(), some).prop_map(|(key, n)| Step::Pop(key, n)),
        1 => (key(), any::<u32>()).prop_map(|(key, header)| Step::Header(key, header)),
        1 => key().prop_map(Step::Remove),
        3 => key().prop_map(Step::Read),
        3 => Just(Step::End),
        2 => (0..6_usize).prop_map(Step::Write),
        3 => Just(Step::Apply),
        2 => prop::collection::vec(key(), 0..12).prop_map(Step::Ahead),
    ];
    prop::collection::vec(step, 1..200)
}

fn spec() -> StateSpec {
    let name = StateName { operator: "op".to_owned(), state: "lists".to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// Returns the lists of a table that is opened on these rows.
fn stored(db: &Arc<Db>) -> Lists {
    let groups = KeyGroups::new(4);
    let mut table = LogTable::<u8, u64, u32>::open(spec(), groups, Arc::clone(db), MemoryUse::new(None)).unwrap();
    (0..KEYS)
        .filter_map(|key| {
            let log = table.get(hash_key(&key), &key).unwrap()?;
            Some((key, (*log.header(), log.iter().copied().collect())))
        })
        .collect()
}

/// An empty list without a header may have no rows.
fn shown(lists: &Lists) -> Lists {
    lists.iter().filter(|(_, (header, list))| *header != 0 || !list.is_empty()).map(|(k, v)| (*k, v.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(soak::times(48)))]

    /// Every read returns what was written, and each delta brings the rows to the end of its epoch. Rows of a list are
    /// never in two forms, and what unpacking shows is what reading shows.
    #[test]
    fn packed_lists_are_lists(steps in steps(), limit in prop_oneof![Just(None), Just(Some(1)), (1_000..8_000_u64).prop_map(Some)]) {
        let config = WorkerStateConfig {
            dir: None,
            key_groups: KeyGroups::new(4),
            worker: 0,
            workers: 1,
            memory_limit_bytes: limit,
            durable: true,
        };
        let mut worker_state = WorkerState::in_memory(config, &MemoryCheckpoint::default()).unwrap();
        let table = worker_state.log_table::<u8, u64, u32>(spec()).unwrap();
        let mut states = worker_state.operator("op");
        let (mirror, mut all) = (Arc::new(Db::in_memory(0).unwrap()), Vec::new());
        let (mut lists, mut waiting, mut epoch) = (Lists::new(), VecDeque::new(), 0);
        let mut open: Option<(Delta, Lists)> = None;
        let mut check = |delta: Delta, at_end: &Lists, waiting: &mut VecDeque<Arc<Delta>>| {
            mirror.apply(&delta, |_| true).unwrap();
            prop_assert_eq!(shown(&stored(&mirror)), shown(at_end), "after epoch {}", delta.epoch());
            let delta = Arc::new(delta);
            all.push(Arc::clone(&delta));
            waiting.push_back(delta);
            Ok(())
        };
        for step in steps.into_iter().chain([Step::End, Step::Write(usize::MAX)]) {
            let mut table = table.borrow_mut();
            match step {
                Step::Push(key, new) => {
                    let log = table.log(hash_key(&key), &key).unwrap();
                    new.iter().for_each(|value| log.push_back(*value));
                    lists.entry(key).or_default().1.extend(new);
                }
                Step::Pop(key, n) => {
                    let log = table.log(hash_key(&key), &key).unwrap();
                    let list = &mut lists.entry(key).or_default().1;
                    for _ in 0..n {
                        prop_assert_eq!(log.pop_front(), list.pop_front());
                    }
                }
                Step::Header(key, header) => {
                    *table.log(hash_key(&key), &key).unwrap().parts().0 = header;
                    lists.entry(key).or_default().0 = header;
                }
                Step::Remove(key) => {
                    table.remove(hash_key(&key), &key).unwrap();
                    lists.remove(&key);
                }
                Step::Read(key) => {
                    let log = table.get(hash_key(&key), &key).unwrap();
                    let read = log.map(|log| (*log.header(), log.iter().copied().collect::<VecDeque<_>>()));
                    prop_assert_eq!(read.unwrap_or_default(), lists.get(&key).cloned().unwrap_or_default());
                }
                Step::End => {
                    drop(table);
                    if let Some((mut delta, at_end)) = open.take() {
                        prop_assert!(states.seal_on(usize::MAX, &mut delta).unwrap());
                        check(delta, &at_end, &mut waiting)?;
                    }
                    epoch += 1;
                    states.begin_seal(epoch, 0, 0).unwrap();
                    open = Some((Delta::new(epoch, 0), lists.clone()));
                }
                Step::Write(entries) => {
                    drop(table);
                    if let Some((mut delta, at_end)) = open.take() {
                        match states.seal_on(entries, &mut delta).unwrap() {
                            true => check(delta, &at_end, &mut waiting)?,
                            false => open = Some((delta, at_end)),
                        }
                    }
                }
                Step::Ahead(keys) => {
                    drop(table);
                    states.load_ahead(&keys).unwrap();
                }
                Step::Apply => {
                    drop(table);
                    if let Some(delta) = waiting.pop_front() {
                        worker_state.db().push(delta).unwrap();
                        worker_state.db().apply_pending().unwrap();
                    }
                    worker_state.evict(0);
                }
            }
        }
        let above = Arc::new(Db::simulated(0));
        above.put_above(all, 1);
        prop_assert_eq!(shown(&stored(&above)), shown(&lists), "restored deltas on top of no rows");
        prop_assert_eq!(shown(&unpacked(&mirror)), shown(&lists), "unpacked");
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(list) = Packed::read(&bytes) {
            let all = list.elements().map(|(_, element)| element.len()).sum::<usize>();
            prop_assert!(all + list.header.len() < bytes.len());
            let mut again = Vec::new();
            let copy = |old: &[u8], out: &mut Vec<u8>| { out.extend_from_slice(old); Ok(()) };
            list.renew(copy, copy, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

/// Returns the lists by their rows alone, those of packed ones as unpacking shows them.
fn unpacked(db: &Db) -> Lists {
    let mut lists = Lists::new();
    let mut add = |row: &[u8], value: &[u8]| {
        let (_, key, suffix) = codec::split_row_key(row).unwrap();
        let (header, list) = lists.entry(codec::decode::<u8>(key).unwrap()).or_default();
        match suffix {
            [] => *header = codec::decode(&value[1..]).unwrap(),
            _ => list.push_back(codec::decode(&value[1..]).unwrap()),
        }
        Ok::<_, DecodeError>(true)
    };
    db.scan("op/lists", &[], |row, value| {
        let (.., suffix) = codec::split_row_key(row).unwrap();
        let more = match suffix {
            SUFFIX => Packed::read(&value[1..]).unwrap().unpack(row, &value[..1], &mut add),
            _ => add(row, value),
        };
        Ok(more.unwrap())
    })
    .unwrap();
    lists
}

/// Short lists are packed only once something was evicted, and long ones are not.
#[test]
fn a_short_list_is_packed_once_entries_are_evicted_and_unpacked_when_it_grows() {
    let config = WorkerStateConfig {
        dir: None,
        key_groups: KeyGroups::new(4),
        worker: 0,
        workers: 1,
        memory_limit_bytes: Some(1),
        durable: true,
    };
    let mut worker_state = WorkerState::in_memory(config, &MemoryCheckpoint::default()).unwrap();
    let table = worker_state.log_table::<u8, u64, u32>(spec()).unwrap();
    let mut states = worker_state.operator("op");
    let mut forms = Vec::new();
    for (epoch, pushed) in (1..).zip([2, 1, 1, 200, 1]) {
        (0..pushed).for_each(|n| table.borrow_mut().log(hash_key(&7_u8), &7).unwrap().push_back(n));
        states.begin_seal(epoch, 0, 0).unwrap();
        let mut delta = Delta::new(epoch, 0);
        assert!(states.seal_on(usize::MAX, &mut delta).unwrap());
        let packs = |op: Op<'_>| matches!(op, Op::Put { key, .. } if key.ends_with(SUFFIX));
        forms.push(delta.sections().flat_map(|(_, ops)| ops.iter().flatten()).any(packs));
        worker_state.db().push(Arc::new(delta)).unwrap();
        worker_state.db().apply_pending().unwrap();
        worker_state.evict(0);
    }
    assert_eq!(forms, [false, true, true, false, false]);
    assert_eq!(table.borrow_mut().get(hash_key(&7_u8), &7).unwrap().map(|log| (log.len(), log.head())), Some((205, 0)));
}
