//! Pending records: they wait for the watermark, in event-time order.
//!
//! ```text
//! push ──▶ slab (the records, moved once in and once out; places are reused while they are in the cache)
//!     └──▶ incoming keys ── release ──▶ sorted runs of keys, merged geometrically ──▶ due: all before the watermark
//! ```
//! There are a few sorted runs instead of a heap: input is nearly sorted and is released nearly at once, which the
//! standard sort handles in one pass, and a big backlog is not read again at each small step.

use std::collections::VecDeque;

use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::evolve::spec::StateSpec;
use crate::hot::persistent::Persistent;
use crate::ids::{KeyGroup, KeyGroups};
use crate::key::Value;
use crate::rows::db::Db;

/// A function that returns the hash of a record's key.
pub type HashOf<T> = Box<dyn Fn(&T) -> u64>;

/// The pending records of one operator, which wait for the watermark.
pub struct OrderBuffer<T> {
    spec: StateSpec,
    key_groups: KeyGroups,
    hash_of: HashOf<T>,
    keeps: bool,
    /// The records. Keys are sorted instead of records, so a record is moved once in and once out.
    slab: Vec<Option<T>>,
    /// Facts about each record, at the same index as in `slab`.
    known: Vec<Known>,
    free: Vec<u32>,
    incoming: Vec<Place>,
    /// Sorted runs, whose lengths fall from first to last.
    runs: Vec<Run>,
    /// The records that are being released, in order.
    due: VecDeque<Place>,
    next_sequence: u64,
    /// Time before which every record was released.
    released: i64,
    /// Key groups with stored records that were released since the last seal.
    released_groups: Vec<u16>,
    sealed: Ops,
}

struct Run {
    places: VecDeque<Place>,
    /// Whether some of its records are in no delta yet.
    unsealed: bool,
}

/// The time when a record is due, and the slot where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: i64,
    tie: u64,
    slot: u32,
}

impl Place {
    fn order(&self) -> (i64, u64) {
        (self.time, self.tie)
    }
}

/// The facts about a pending record: the hash of its key, its sequence number, and whether a delta has it.
#[derive(Clone, Copy)]
struct Known {
    hash: u64,
    sequence: u64,
    stored: bool,
}

impl<T: Value> OrderBuffer<T> {
    /// Maximum number of places in an empty slab; a larger one is freed.
    const KEPT_PLACES: usize = 1 << 16;

    pub(crate) fn open(
        spec: StateSpec,
        key_groups: KeyGroups,
        hash_of: HashOf<T>,
        db: &Db,
    ) -> Result<Self, StateError> {
        let name = spec.name.to_string();
        let mut buffer = Self {
            spec,
            key_groups,
            hash_of,
            keeps: db.keeps(),
            slab: Vec::new(),
            known: Vec::new(),
            free: Vec::new(),
            incoming: Vec::new(),
            runs: Vec::new(),
            due: VecDeque::new(),
            next_sequence: 0,
            released: i64::MIN,
            released_groups: Vec::new(),
            sealed: Ops::default(),
        };
        db.scan(&name, &[], |row, value| {
            let Stored { time, sequence, tie, item } = read_row(row, value, buffer.spec.version).map_err(|e| {
                StateError::Value { state: name.clone(), group: codec::group_of_row(row).0, reason: e.0 }
            })?;
            buffer.next_sequence = buffer.next_sequence.max(sequence + 1);
            let hash = (buffer.hash_of)(&item);
            buffer.put(time, tie, Known { hash, sequence, stored: true }, item);
            Ok(true)
        })?;
        buffer.sort_incoming();
        Ok(buffer)
    }

    /// Adds `item`, which is pending until the watermark has passed `time`. Records of the same time are released in
    /// the order of `tie`.
    #[inline]
    pub fn push(&mut self, time: i64, tie: u64, item: T) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let hash = (self.hash_of)(&item);
        self.put(time, tie, Known { hash, sequence, stored: false }, item);
    }

    // Inlined, so that a large record is copied only once, straight into its place.
    #[inline(always)]
    fn put(&mut self, time: i64, tie: u64, known: Known, item: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = Some(item);
                self.known[slot as usize] = known;
                slot
            }
            None => {
                self.slab.push(Some(item));
                self.known.push(known);
                (self.slab.len() - 1) as u32
            }
        };
        self.incoming.push(Place { time, tie, slot });
    }

    /// Makes all records before `watermark` due; [`next_due`](Self::next_due) takes them. At the end of time
    /// (`i64::MAX`) no more records can come, so records of exactly that time are due as well.
    pub fn release_before(&mut self, watermark: i64) {
        self.sort_incoming();
        self.released = self.released.max(watermark);
        let is_due = |place: &Place| place.time < watermark || watermark == i64::MAX;
        let mut sources = usize::from(!self.due.is_empty());
        for run in &mut self.runs {
            let count = run.places.partition_point(is_due);
            sources += usize::from(count > 0);
            self.due.extend(run.places.drain(..count));
        }
        self.runs.retain(|run| !run.places.is_empty());
        if sources > 1 {
            self.due.make_contiguous().sort_by_key(Place::order);
        }
    }

    /// Returns the hashes of the keys of the due records, in the order in which they are taken.
    pub fn due_hashes(&self) -> impl Iterator<Item = u64> {
        self.due.iter().map(|place| self.known[place.slot as usize].hash)
    }

    /// Returns the due records, in the order in which they are taken.
    pub fn due(&self) -> impl Iterator<Item = &T> {
        self.due.iter().filter_map(|place| self.slab.get(place.slot as usize)?.as_ref())
    }

    /// Takes the next due record, in the order of (time, tie). Returns its time, the hash of its key, and the record.
    #[inline]
    pub fn next_due(&mut self) -> Option<(i64, u64, T)> {
        let Place { time, slot, .. } = self.due.pop_front()?;
        let item = self.slab.get_mut(slot as usize)?.take()?;
        let Known { hash, stored, .. } = self.known[slot as usize];
        self.free.push(slot);
        if stored {
            let KeyGroup(group) = self.key_groups.of_hash(hash);
            if self.released_groups.last() != Some(&group) {
                self.released_groups.push(group);
            }
        }
        Some((time, hash, item))
    }

    /// Returns the number of pending records, due ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Returns whether no record is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sort_incoming(&mut self) {
        if self.incoming.is_empty() {
            return;
        }
        self.incoming.sort_by_key(Place::order);
        let unsealed = self.incoming.iter().any(|place| !self.known[place.slot as usize].stored);
        let places = self.incoming.drain(..).collect();
        self.runs.push(Run { places, unsealed });
        while let [.., before, last] = &self.runs[..]
            && last.places.len() * 2 > before.places.len()
        {
            let Some(last) = self.runs.pop() else { return };
            let Some(before) = self.runs.last_mut() else { return };
            before.unsealed |= last.unsealed;
            before.places.extend(last.places);
            // These are two sorted runs one after the other, which the standard sort merges.
            before.places.make_contiguous().sort_by_key(Place::order);
        }
    }
}

fn write_row(KeyGroup(group): KeyGroup, time: i64, sequence: u64, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&group.to_be_bytes());
    row.extend_from_slice(&codec::ordered_time(time));
    row.extend_from_slice(&sequence.to_be_bytes());
}

/// A record as it is stored in a delta or in RocksDB.
struct Stored<T> {
    time: i64,
    sequence: u64,
    tie: u64,
    item: T,
}

fn read_row<T: Value>(row: &[u8], value: &[u8], version: u8) -> Result<Stored<T>, DecodeError> {
    let short = || DecodeError("a pending record's row is too short".to_owned());
    let (_, rest) = row.split_first_chunk::<2>().ok_or_else(short)?;
    let (time, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let sequence = rest.try_into().map(u64::from_be_bytes).map_err(|_| short())?;
    let (found, value) = value.split_first().ok_or_else(short)?;
    if *found != version {
        return Err(DecodeError(format!("it is of version {found}, this program reads {version}")));
    }
    let (tie, item) = codec::decode(value)?;
    Ok(Stored { time: codec::time_of(*time), sequence, tie, item })
}

impl<T: Value> Persistent for OrderBuffer<T> {
    fn begin_seal(&mut self, _epoch: u64) -> Result<(), StateError> {
        if self.is_empty() && self.slab.len() > Self::KEPT_PLACES {
            (self.slab, self.known, self.free) = (Vec::new(), Vec::new(), Vec::new());
        }
        if !self.keeps {
            return Ok(());
        }
        self.sort_incoming();
        self.released_groups.sort_unstable();
        self.released_groups.dedup();
        let mut ops = Ops::default();
        let range = |group: u16, time: i64| [&group.to_be_bytes()[..], &codec::ordered_time(time)].concat();
        for group in self.released_groups.drain(..) {
            // The first row of the next key group comes after all rows of this one.
            let end = match self.released {
                i64::MAX => range(group + 1, i64::MIN),
                released => range(group, released),
            };
            ops.delete_range(&range(group, i64::MIN), &end);
        }
        let (name, version) = (self.spec.name.to_string(), self.spec.version);
        let mut row = Vec::new();
        for run in self.runs.iter_mut().filter(|run| run.unsealed) {
            for Place { time, tie, slot } in &run.places {
                let known = &mut self.known[*slot as usize];
                let Some(Some(item)) = self.slab.get(*slot as usize) else { continue };
                if std::mem::replace(&mut known.stored, true) {
                    continue;
                }
                let group = self.key_groups.of_hash(known.hash);
                write_row(group, *time, known.sequence, &mut row);
                ops.put_with(&row, |out| {
                    out.push(version);
                    codec::encode(&(tie, item), out)
                })
                .map_err(|DecodeError(reason)| StateError::Unwritable {
                    state: name.clone(),
                    group: group.0,
                    reason,
                })?;
            }
            run.unsealed = false;
        }
        self.sealed = ops;
        Ok(())
    }

    fn seal_on(&mut self, _entries: usize) -> Result<Option<Ops>, StateError> {
        Ok(Some(std::mem::take(&mut self.sealed)))
    }

    fn set_now(&mut self, _event_time_ms: i64, _processing_time_ms: i64) {}

    fn kind(&self) -> &'static str {
        "pending"
    }

    fn spec(&self) -> &StateSpec {
        &self.spec
    }
}
