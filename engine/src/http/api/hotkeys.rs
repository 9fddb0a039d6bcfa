//! `/api/v1/hotkeys`: the keys with most records of each keyed operator.

use serde::{Deserialize, Serialize};

use super::add_each;
use crate::http::shown::Shown;
use crate::metrics::{HotKeysOf, SHOWN, is_worth_naming};

#[derive(Serialize, Deserialize)]
pub(in crate::http) struct HotKeys {
    operators: Vec<Operator>,
}

#[derive(Serialize, Deserialize)]
struct Operator {
    operator: String,
    records: u64,
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    key: String,
    records: u64,
    /// Of the records of the operator on all workers that are looked at.
    share: f64,
    worker: usize,
}

/// Returns the keys, and has them counted for some more seconds.
pub(in crate::http) fn hot_keys(shown: &Shown) -> HotKeys {
    let operator = |HotKeysOf { operator, records, keys }: HotKeysOf| {
        let key = |(key, count, worker): (String, u64, usize)| {
            let share = count as f64 / records.max(1) as f64;
            Key { key, records: count, share, worker }
        };
        Operator { operator, records, keys: keys.into_iter().map(key).collect() }
    };
    HotKeys { operators: shown.watched.process.metrics.hot_keys().into_iter().map(operator).collect() }
}

impl HotKeys {
    /// Adds what other processes say. The records of a key are all on one worker.
    pub(in crate::http) fn add_all(&mut self, others: impl Iterator<Item = Self>) {
        let others = others.flat_map(|other| other.operators);
        add_each(&mut self.operators, others, |a, b| a.operator == b.operator, Operator::add);
        self.operators.iter_mut().for_each(Operator::choose);
    }
}

impl Operator {
    fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.keys.extend(other.keys);
    }

    /// Keeps the keys that are hot among the records of all processes.
    fn choose(&mut self) {
        let all = self.records;
        self.keys.retain(|key| is_worth_naming(key.records, all));
        self.keys.iter_mut().for_each(|key| key.share = key.records as f64 / all.max(1) as f64);
        self.keys.sort_by_key(|key| std::cmp::Reverse(key.records));
        self.keys.truncate(SHOWN);
    }
}
