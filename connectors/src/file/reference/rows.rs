//! The differences between a version of the file and the rows that were emitted before, with state per bucket of
//! keys.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, States, ValueState};
use tidemill_engine::{Data, JobError, Record};
use tidemill_state::{Key, hash_key};

/// Number of buckets into which the keys are divided. Checkpoints depend on it, so it never changes.
///
/// A bucket that changes is sent as a whole, and its state is written as a whole in its epoch. After a restore all
/// buckets are sent, also empty ones. With a million rows a bucket has 977.
pub(super) const BUCKETS: u16 = 1024;

/// Returns the bucket of a key.
pub(super) fn bucket_of<K: Key>(key: &K) -> u16 {
    (hash_key(key) % u64::from(BUCKETS)) as u16
}

/// A row with its key and its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row<K, V> {
    pub(super) key: K,
    pub(super) row: V,
    pub(super) hash: u64,
}

/// All rows that a version has in a bucket, sorted by key, each key once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bucket<K, V> {
    pub(super) bucket: u16,
    pub(super) rows: Vec<Row<K, V>>,
}

impl<K: Key, V> Bucket<K, V> {
    /// Returns a hash over the keys and rows of a bucket.
    pub(super) fn print(rows: &[Row<K, V>]) -> u64 {
        let rows: Vec<(&K, u64)> = rows.iter().map(|row| (&row.key, row.hash)).collect();
        hash_key(&rows)
    }
}

/// The operator that compares each bucket with the rows emitted before, and emits the differences.
pub(crate) struct RowsLogic<K, V> {
    /// Keys and hashes of the rows that were emitted, sorted by key.
    emitted: ValueState<u16, Vec<(K, u64)>>,
    row: std::marker::PhantomData<fn() -> V>,
}

impl<K: Key, V> RowsLogic<K, V> {
    pub(super) fn open(states: &mut States<'_, u16>) -> Result<Self, JobError> {
        Ok(Self { emitted: states.value("emitted")?, row: std::marker::PhantomData })
    }
}

impl<K: Key + Data, V: Data> KeyedLogic for RowsLogic<K, V> {
    type Key = u16;
    type In = Bucket<K, V>;
    type Out = (K, Option<V>);
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u16, (K, Option<V>), ()>,
        record: Record<Bucket<K, V>>,
    ) -> Result<(), LogicError> {
        let rows = record.data.rows;
        let now: Vec<(K, u64)> = rows.iter().map(|row| (row.key.clone(), row.hash)).collect();
        let changes = self.emitted.read(ctx, |emitted| differences(emitted.map_or(&[], Vec::as_slice), rows))?;
        if changes.is_empty() {
            return Ok(());
        }
        changes.into_iter().for_each(|change| ctx.emit(change));
        if now.is_empty() {
            self.emitted.remove(ctx)?;
        } else {
            self.emitted.put(ctx, now)?;
        }
        Ok(())
    }
}

/// Returns the changes that turn the emitted rows into `rows`. Both are sorted by key.
pub(super) fn differences<K: Key, V>(emitted: &[(K, u64)], rows: Vec<Row<K, V>>) -> Vec<(K, Option<V>)> {
    let (mut changes, mut emitted) = (Vec::new(), emitted.iter().peekable());
    for Row { key, row, hash } in rows {
        while let Some((gone, _)) = emitted.next_if(|(known, _)| known.cmp(&key) == Ordering::Less) {
            changes.push((gone.clone(), None));
        }
        let before = emitted.next_if(|(known, _)| *known == key);
        if before.is_none_or(|(_, before)| *before != hash) {
            changes.push((key, Some(row)));
        }
    }
    changes.extend(emitted.map(|(gone, _)| (gone.clone(), None)));
    changes
}
