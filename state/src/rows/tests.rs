//! Tests that RocksDB and maps behave the same, and tests of RocksDB alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::db::Db;
use super::maps::Maps;
use super::rocks::Rocks;
use super::snapshot::RowSnapshot;
use super::store::RowStore;
use crate::checkpoint::delta::Delta;
use crate::checkpoint::store::{CheckpointStore, LocalStore};
use crate::codec;
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::soak;

/// One change in a delta.
#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    PutElements(Vec<u8>, u64, Vec<Vec<u8>>),
    DeleteElements(Vec<u8>, u64, u64),
}

/// A call of a store. States are numbers: `STATES`.
#[derive(Clone, Debug)]
enum Call {
    Remove(usize),
    /// Applies a delta. The mask says which key groups are this worker's.
    Apply(Vec<(usize, Vec<Change>)>, [bool; GROUPS as usize]),
    PutRows(usize, BTreeMap<Vec<u8>, Vec<u8>>),
    /// Rewrites rows from one state to another, or to the same one, with longer values.
    Rewrite(usize, usize, u8),
    /// Visits some rows of an entry or of a whole state, and then stops or fails.
    Scan(usize, Option<Vec<u8>>, usize, bool),
    Get(usize, Vec<u8>),
    /// Takes a base snapshot of all rows, and continues from it.
    Restore,
}

const STATES: [&str; 3] = ["a/values", "a/log", "b/values"];
const GROUPS: u16 = 3;

/// Generates the row key of an entry.
fn entries() -> impl Strategy<Value = Vec<u8>> {
    (0..GROUPS, "[a-c]{0,2}").prop_map(|(group, key)| {
        let mut row = Vec::new();
        codec::row_key(KeyGroup(group), &key, &mut row).unwrap();
        row
    })
}

/// Generates a row key: of an entry itself, or of one of its elements.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    (entries(), prop::option::of(0..4_u64)).prop_map(|(mut row, element)| {
        row.extend(element.into_iter().flat_map(u64::to_be_bytes));
        row
    })
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..12)
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (keys(), values()).prop_map(|(key, value)| Change::Put(key, value)),
        2 => keys().prop_map(Change::Delete),
        1 => (keys(), keys()).prop_map(|(from, to)| {
            // Both ends of a range are in one key group, and in order.
            let to = [&from[..2], &to[2..]].concat();
            Change::DeleteRange(from.clone().min(to.clone()), from.max(to))
        }),
        2 => (entries(), 0..4_u64, prop::collection::vec(values(), 0..4)).prop_map(|(row, from, values)| Change::PutElements(row, from, values)),
        1 => (entries(), 0..4_u64, 0..4_u64).prop_map(|(row, from, more)| Change::DeleteElements(row, from, from + more)),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let state = || 0..STATES.len();
    let sections = prop::collection::vec((state(), prop::collection::vec(changes(), 0..12)), 0..3);
    prop_oneof![
        1 => state().prop_map(Call::Remove),
        6 => (sections, any::<[bool; GROUPS as usize]>()).prop_map(|(sections, owned)| Call::Apply(sections, owned)),
        2 => (state(), prop::collection::btree_map(keys(), values(), 0..8)).prop_map(|(state, rows)| Call::PutRows(state, rows)),
        2 => (state(), state(), any::<u8>()).prop_map(|(from, to, mark)| Call::Rewrite(from, to, mark)),
        3 => (state(), prop::option::of(entries()), 1..6_usize, any::<bool>())
            .prop_map(|(state, prefix, most, fails)| Call::Scan(state, prefix, most, fails)),
        2 => (state(), keys()).prop_map(|(state, key)| Call::Get(state, key)),
        1 => Just(Call::Restore),
    ]
}

fn delta_of(sections: &[(usize, Vec<Change>)]) -> Delta {
    let copy = |value: &Vec<u8>, out: &mut Vec<u8>| {
        out.extend_from_slice(value);
        Ok(())
    };
    let mut delta = Delta::new(1, 0);
    for (state, changes) in sections {
        let ops = delta.section(STATES[*state]);
        for change in changes {
            match change {
                Change::Put(key, value) => ops.put(key, value).unwrap(),
                Change::Delete(key) => ops.delete(key),
                Change::DeleteRange(from, to) => ops.delete_range(from, to),
                Change::PutElements(row, from, values) => ops.put_elements(row, *from, values.iter(), copy).unwrap(),
                Change::DeleteElements(row, from, to) => ops.delete_elements(row, *from, *to),
            }
        }
    }
    delta
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Count(u64),
    Value(Option<Vec<u8>>),
    Rows(Rows, Option<String>),
}

fn answer(store: &dyn RowStore, call: &Call) -> Answer {
    match call {
        Call::Remove(state) => store.remove(STATES[*state]).unwrap(),
        Call::Apply(sections, owned) => {
            store.apply(&delta_of(sections), &|group| owned[usize::from(group.0)]).unwrap();
        }
        Call::PutRows(state, rows) => {
            let fill = |put: &mut super::store::Put<'_>| rows.iter().try_for_each(|(key, value)| put(key, value));
            store.put_rows(STATES[*state], &mut { fill }).unwrap();
        }
        Call::Rewrite(from, to, mark) => {
            let renew = |key: &[u8], old: &[u8], new: &mut Vec<u8>| {
                new.extend_from_slice(old);
                new.extend([*mark, key.len() as u8]);
                Ok(())
            };
            return Answer::Count(store.rewrite(STATES[*from], STATES[*to], &mut { renew }).unwrap());
        }
        Call::Scan(state, prefix, most, fails) => {
            let mut rows = Rows::new();
            let end = store.scan(STATES[*state], prefix.as_deref().unwrap_or_default(), &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                let enough = rows.len() >= *most;
                if enough && *fails { Err(StateError::Invalid("enough".to_owned())) } else { Ok(!enough) }
            });
            return Answer::Rows(rows, end.err().map(|error| error.to_string()));
        }
        Call::Get(state, key) => return Answer::Value(store.get(STATES[*state], key).unwrap()),
        Call::Restore => {}
    }
    Answer::Done
}

/// Returns every row of every state.
fn contents(store: &dyn RowStore) -> Vec<(String, Rows)> {
    let rows = |state: &String| {
        let mut rows = Rows::new();
        let put = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(true)
        };
        store.scan(state, &[], &mut { put }).unwrap();
        rows
    };
    store.states().into_iter().map(|state| (state.clone(), rows(&state))).collect()
}

/// Makes the same calls on both stores, and compares their answers and contents. RocksDB is in `folder`, or in memory.
fn compare(calls: &[Call], folder: Option<&Path>) -> Result<(), TestCaseError> {
    let open = |n: usize| match folder {
        Some(folder) => Rocks::open(&folder.join(format!("rocks-{n}"))).unwrap(),
        None => Rocks::in_memory().unwrap(),
    };
    let (mut rocks, mut maps) = (open(0), Maps::default());
    for (n, call) in calls.iter().enumerate() {
        prop_assert_eq!(answer(&rocks, call), answer(&maps, call), "{:?}", call);
        if let (Call::Restore, Some(folder)) = (call, folder) {
            let (epoch, store) = (n as u64, LocalStore::open(&folder.join("store")).unwrap());
            let base = rocks.snapshot(epoch).unwrap().store(&store, epoch, 0, 9).unwrap();
            store.fetch(&base, &folder.join(format!("rocks-{}", n + 1))).unwrap();
            rocks = open(n + 1);
            let base = maps.snapshot(epoch).unwrap().store(&store, epoch, 1, 9).unwrap();
            maps = Maps::default();
            maps.apply(&RowSnapshot::rows(&store, &base).unwrap(), &|_| true).unwrap();
        }
        prop_assert_eq!(contents(&rocks), contents(&maps), "after {:?}", call);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(soak::times(100)))]

    #[test]
    fn maps_do_what_rocksdb_does(calls in prop::collection::vec(calls(), 1..60)) {
        compare(&calls, None)?;
    }
}

proptest! {
    // Each case opens RocksDB on a disk, several times.
    #![proptest_config(ProptestConfig::with_cases(soak::times(4)))]

    #[test]
    fn a_base_of_maps_is_what_a_base_of_rocksdb_is(calls in prop::collection::vec(calls(), 1..30)) {
        let scratch = tempfile::tempdir().unwrap();
        compare(&[&calls[..], &[Call::Restore]].concat(), Some(scratch.path()))?;
    }
}

/// The index of what was asked for, and the key and value of a row.
type Found = (usize, Vec<u8>, Vec<u8>);

/// Returns what reads of many rows, and of the rows of many entries, find.
fn reads_of_many(db: &Db, state: &str, entries: &[Vec<u8>], keys: &[Vec<u8>]) -> [Vec<Found>; 2] {
    let (mut of_keys, mut of_entries) = (Vec::new(), Vec::new());
    let note = |found: &mut Vec<_>, at: usize, key: &[u8], value: &[u8]| {
        found.push((at, key.to_vec(), value.to_vec()));
        Ok(())
    };
    db.get_many(state, keys, &mut |at, key, value| note(&mut of_keys, at, key, value)).unwrap();
    db.scan_many(state, entries, &mut |at, key, value| note(&mut of_entries, at, key, value)).unwrap();
    [of_keys, of_entries]
}

/// Returns what the same reads find one by one.
fn one_by_one(db: &Db, state: &str, entries: &[Vec<u8>], keys: &[Vec<u8>]) -> [Vec<Found>; 2] {
    let (mut of_keys, mut of_entries) = (Vec::new(), Vec::new());
    for (at, key) in keys.iter().enumerate() {
        of_keys.extend(db.get(state, key).unwrap().map(|value| (at, key.clone(), value)));
    }
    for (at, entry) in entries.iter().enumerate() {
        db.scan(state, entry, |key, value| {
            of_entries.push((at, key.to_vec(), value.to_vec()));
            Ok(true)
        })
        .unwrap();
    }
    [of_keys, of_entries]
}

/// Returns all rows of a state, those of an entry, those from a key on, and the value of a key.
fn reads(db: &Db, state: &str, entry: &[u8], key: &[u8]) -> (Rows, Rows, Rows, Option<Vec<u8>>) {
    fn gathered(scan: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError>)) -> Rows {
        let mut rows = Rows::new();
        scan(&mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(true)
        });
        rows
    }
    let all = gathered(|visit| db.scan(state, &[], visit).unwrap());
    let of_entry = gathered(|visit| db.scan(state, entry, visit).unwrap());
    let later = gathered(|visit| db.scan_from(state, key, visit).unwrap());
    (all, of_entry, later, db.get(state, key).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(soak::times(100)))]

    /// Restored deltas that are read on top of rows are what they are as rows, in maps and in RocksDB, and a scan that
    /// stops early stops there.
    #[test]
    fn deltas_read_on_top_are_what_they_are_as_rows(
        deltas in prop::collection::vec(prop::collection::vec((0..STATES.len(), prop::collection::vec(changes(), 0..12)), 0..4), 1..6),
        based in 0..3_usize,
        asked in prop::collection::vec((0..STATES.len(), entries(), keys(), 1..5_usize), 1..12),
        rocks in any::<bool>(),
        threads in 1..4_usize,
    ) {
        let based = based.min(deltas.len());
        let open = || if rocks { Db::in_memory(1).unwrap() } else { Db::simulated(1) };
        let deltas: Vec<Arc<Delta>> = deltas.iter().map(|sections| Arc::new(delta_of(sections))).collect();
        let (above, rows) = (open(), open());
        deltas.iter().try_for_each(|delta| rows.apply(delta, |_| true)).unwrap();
        deltas[..based].iter().try_for_each(|delta| above.apply(delta, |_| true)).unwrap();
        above.put_above(deltas[based..].to_vec(), threads);
        let merged = open();
        deltas[..based].iter().try_for_each(|delta| merged.apply(delta, |_| true)).unwrap();
        deltas[based..].iter().try_for_each(|delta| merged.push(Arc::clone(delta))).unwrap();
        merged.apply_pending().unwrap();
        let mut many: (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            asked.iter().map(|(_, entry, key, _)| (entry.clone(), key.clone())).unzip();
        for list in [&mut many.0, &mut many.1] {
            list.sort();
            list.dedup();
        }
        for round in ["above", "settled"] {
            for (state, entry, key, most) in &asked {
                let state = STATES[*state];
                prop_assert_eq!(reads(&above, state, entry, key), reads(&rows, state, entry, key), "{}", round);
                prop_assert_eq!(reads(&merged, state, entry, key), reads(&rows, state, entry, key), "merged");
                let mut seen = 0;
                above.scan(state, &[], |_, _| { seen += 1; Ok(seen < *most) }).unwrap();
                prop_assert_eq!(seen, (*most).min(reads(&rows, state, entry, key).0.len()));
            }
            for state in STATES {
                let expected = one_by_one(&rows, state, &many.0, &many.1);
                prop_assert_eq!(&reads_of_many(&above, state, &many.0, &many.1), &expected, "{}", round);
                prop_assert_eq!(&reads_of_many(&rows, state, &many.0, &many.1), &expected, "{}", round);
            }
            above.apply_pending().unwrap();
        }
    }
}

/// A restore with other names renames a state or drops it.
#[test]
fn a_state_gets_its_new_name_or_goes_in_both() {
    let scratch = tempfile::tempdir().unwrap();
    for db in [Db::open(scratch.path(), 1, true).unwrap(), Db::simulated(1)] {
        let mut delta = Delta::new(1, 0);
        for state in STATES {
            delta.section(state).put(&[0, 0, 0, 0, 0, 1, 7], state.as_bytes()).unwrap();
        }
        db.apply(&delta, |_| true).unwrap();
        let name = |state: &str| match state {
            "a/values" => Some("a/totals".to_owned()),
            "a/log" => None,
            other => Some(other.to_owned()),
        };
        db.rename(name).unwrap();
        let value = |state: &str| db.get(state, &[0, 0, 0, 0, 0, 1, 7]).unwrap();
        assert_eq!(value("a/totals").as_deref(), Some(&b"a/values"[..]));
        assert_eq!(value("b/values").as_deref(), Some(&b"b/values"[..]));
        assert_eq!(db.rows.states(), ["a/totals", "b/values"]);
        let copy = Db::simulated(1);
        copy.copy_from(&db, |_| true, |state| Some(format!("c/{state}"))).unwrap();
        assert_eq!(copy.rows.states(), ["c/a/totals", "c/b/values"]);
        assert!(!copy.is_empty("c/a/totals").unwrap() && copy.is_empty("a/totals").unwrap());
    }
}

#[test]
fn compaction_drops_what_had_expired_at_the_epoch_rocksdb_is_at() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), 0, true).unwrap();
    let rows = |state: &str| {
        db.rows.compact(state);
        let mut rows = 0;
        db.scan(state, &[], |_, _| {
            rows += 1;
            Ok(true)
        })
        .unwrap();
        rows
    };
    let mut delta = Delta::new(1, 0);
    for state in ["mortal", "immortal"] {
        for n in 0..100_u8 {
            let value = [&[1][..], &i64::from(n).to_le_bytes(), b"value"].concat();
            delta.section(state).put(&[0, 0, 0, 0, 0, 1, n], &value).unwrap();
        }
    }
    db.expires("mortal", 1, 9);
    db.expires("mortal", 2, 49);
    db.push(Arc::new(delta)).unwrap();
    db.apply_pending().unwrap();
    assert_eq!((rows("mortal"), rows("immortal")), (90, 100));
    db.push(Arc::new(Delta::new(2, 0))).unwrap();
    db.apply_pending().unwrap();
    assert_eq!((rows("mortal"), rows("immortal")), (50, 100));
}

/// Bases share files with the working RocksDB, so a file that is cut in a base is cut in the working RocksDB as well.
#[test]
fn no_base_is_taken_of_a_file_that_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).unwrap();
    let db = Db::open(&dir.path().join("work"), 0, true).unwrap();
    let mut delta = Delta::new(1, 0);
    delta.section("state").put(&[0, 0, 0, 0, 0, 1, 7], b"value").unwrap();
    db.push(Arc::new(delta)).unwrap();
    let base = db.snapshot().unwrap().store(&store, 1, 0, 9).unwrap();
    let sst = base.files.iter().find(|file| file.name.ends_with(".sst")).unwrap();
    let path = dir.path().join("store").join(&base.dir).join(&sst.name);
    db.snapshot().unwrap().discard().unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(sst.len - 1).unwrap();
    let error = db.snapshot().err().unwrap().to_string();
    let lengths = format!("it has {} bytes instead of {}", sst.len - 1, sst.len);
    assert!(error.contains(&sst.name) && error.contains(&lengths), "{error}");
}
