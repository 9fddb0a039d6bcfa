//! `/api/v1/hotkeys`: the keys with most records of each keyed operator.

use serde::Serialize;

use crate::http::shown::Shown;
use crate::metrics::HotKeysOf;

#[derive(Serialize)]
pub(in crate::http) struct HotKeys {
    operators: Vec<Operator>,
}

#[derive(Serialize)]
struct Operator {
    operator: String,
    records: u64,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    key: String,
    records: u64,
    /// Of the records of the operator on all workers of the process.
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
