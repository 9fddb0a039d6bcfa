//! Held records: what waits for the watermark, in event-time order.
//!
//! ```text
//! push ──▶ incoming ── release ──▶ sorted runs, merged geometrically ──▶ all with time < watermark
//! ```
//! A few sorted runs instead of a heap: input is nearly sorted and leaves nearly at once, which the
//! standard sort takes in one pass; a big backlog is not looked at again at each small step.

use std::collections::VecDeque;

use crate::codec::{self, DecodeError};
use crate::db::Db;
use crate::delta::Ops;
use crate::error::StateError;
use crate::key::{KeyGroup, Value};
use crate::spec::{Persistent, StateSpec};

/// Records that wait for the watermark.
pub struct OrderBuffer<T> {
    spec: StateSpec,
    keeps: bool,
    incoming: Vec<Held<T>>,
    /// Each sorted by (time, tie); lengths fall from first to last.
    runs: Vec<Run<T>>,
    next_sequence: u64,
    /// Everything before it was released.
    released: i64,
    /// Groups of which stored records were released since the last seal.
    released_groups: Vec<u16>,
}

struct Run<T> {
    held: VecDeque<Held<T>>,
    /// Whether some of it is in no delta yet.
    unsealed: bool,
}

struct Held<T> {
    time: i64,
    tie: u64,
    group: u16,
    sequence: u64,
    stored: bool,
    item: T,
}

impl<T> Held<T> {
    fn order(&self) -> (i64, u64) {
        (self.time, self.tie)
    }
}

impl<T: Value> OrderBuffer<T> {
    pub(crate) fn open(spec: StateSpec, db: &Db) -> Result<Self, StateError> {
        let name = spec.name.to_string();
        db.ensure_family(&name)?;
        let mut buffer = Self {
            spec,
            keeps: db.keeps(),
            incoming: Vec::new(),
            runs: Vec::new(),
            next_sequence: 0,
            released: i64::MIN,
            released_groups: Vec::new(),
        };
        db.scan(&name, &[], |row, value| {
            let held = read_row(row, value, buffer.spec.version).map_err(|e| StateError::Value {
                state: name.clone(),
                group: codec::group_of_row(row),
                reason: e.0,
            })?;
            buffer.next_sequence = buffer.next_sequence.max(held.sequence + 1);
            buffer.incoming.push(held);
            Ok(true)
        })?;
        buffer.sort_incoming();
        Ok(buffer)
    }

    /// Holds `item` until the watermark has passed `time`.
    pub fn push(&mut self, group: KeyGroup, time: i64, tie: u64, item: T) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.incoming.push(Held { time, tie, group: group.0, sequence, stored: false, item });
    }

    /// Appends everything before `watermark` to `out`, by (time, tie).
    pub fn release_before(&mut self, watermark: i64, out: &mut Vec<(i64, T)>) {
        self.sort_incoming();
        self.released = self.released.max(watermark);
        let mut due: Vec<Held<T>> = Vec::new();
        let mut sources = 0;
        for run in &mut self.runs {
            let count = run.held.partition_point(|held| held.time < watermark);
            sources += usize::from(count > 0);
            due.extend(run.held.drain(..count));
        }
        self.runs.retain(|run| !run.held.is_empty());
        if sources > 1 {
            due.sort_by_key(Held::order);
        }
        out.reserve(due.len());
        for held in due {
            if held.stored && self.released_groups.last() != Some(&held.group) {
                self.released_groups.push(held.group);
            }
            out.push((held.time, held.item));
        }
    }

    /// Number of records that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.incoming.len() + self.runs.iter().map(|run| run.held.len()).sum::<usize>()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sort_incoming(&mut self) {
        if self.incoming.is_empty() {
            return;
        }
        self.incoming.sort_by_key(Held::order);
        let unsealed = self.incoming.iter().any(|held| !held.stored);
        self.runs.push(Run { held: std::mem::take(&mut self.incoming).into(), unsealed });
        while let [.., before, last] = &self.runs[..]
            && last.held.len() * 2 > before.held.len()
        {
            let Some(last) = self.runs.pop() else { return };
            let Some(before) = self.runs.last_mut() else { return };
            before.unsealed |= last.unsealed;
            before.held.extend(last.held);
            // Two sorted runs one after the other: the standard sort merges them.
            before.held.make_contiguous().sort_by_key(Held::order);
        }
    }
}

fn write_row<T>(held: &Held<T>, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&held.group.to_be_bytes());
    row.extend_from_slice(&codec::ordered_time(held.time));
    row.extend_from_slice(&held.sequence.to_be_bytes());
}

fn read_row<T: Value>(row: &[u8], value: &[u8], version: u8) -> Result<Held<T>, DecodeError> {
    let short = || DecodeError("a held record's row is too short".to_owned());
    let (group, rest) = row.split_first_chunk::<2>().ok_or_else(short)?;
    let (time, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let sequence = rest.try_into().map(u64::from_be_bytes).map_err(|_| short())?;
    let (found, value) = value.split_first().ok_or_else(short)?;
    if *found != version {
        return Err(DecodeError(format!("it is of version {found}, this program reads {version}")));
    }
    let (tie, item) = codec::decode(value)?;
    let (group, time) = (u16::from_be_bytes(*group), codec::time_of(*time));
    Ok(Held { time, tie, group, sequence, stored: true, item })
}

impl<T: Value> Persistent for OrderBuffer<T> {
    fn seal(&mut self, _epoch: u64, ops: &mut Ops) -> Result<(), StateError> {
        if !self.keeps {
            return Ok(());
        }
        self.sort_incoming();
        self.released_groups.sort_unstable();
        self.released_groups.dedup();
        let range = |group: u16, time: i64| [&group.to_be_bytes()[..], &codec::ordered_time(time)].concat();
        for group in self.released_groups.drain(..) {
            ops.delete_range(&range(group, i64::MIN), &range(group, self.released));
        }
        let (name, version) = (self.spec.name.to_string(), self.spec.version);
        let mut row = Vec::new();
        for run in self.runs.iter_mut().filter(|run| run.unsealed) {
            for held in run.held.iter_mut().filter(|held| !held.stored) {
                write_row(held, &mut row);
                ops.put_with(&row, |out| {
                    out.push(version);
                    codec::encode(&(held.tie, &held.item), out)
                })
                .map_err(|e: DecodeError| StateError::Value {
                    state: name.clone(),
                    group: held.group,
                    reason: e.0,
                })?;
                held.stored = true;
            }
            run.unsealed = false;
        }
        Ok(())
    }

    fn set_now(&mut self, _event_time_ms: i64, _processing_time_ms: i64) {}

    fn kind(&self) -> &'static str {
        "held"
    }

    fn spec(&self) -> &StateSpec {
        &self.spec
    }
}
