//! What a store of rows says of itself, for metrics.

#[cfg(feature = "rocksdb")]
use rocksdb::{Cache, DB, properties};

/// Figures of the RocksDB of one worker, added up over its states. Most of them are estimates of RocksDB's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFigures {
    /// Number of rows, estimated.
    pub rows: u64,
    /// Size of the rows that a scan would find, estimated.
    pub live_bytes: u64,
    /// Size of the files with rows.
    pub files_bytes: u64,
    /// Memory of the rows that are not in files yet.
    pub memtables_bytes: u64,
    /// Memory of the indexes and filters of open files, estimated.
    pub table_readers_bytes: u64,
    /// Memory of the cache of blocks, which all states share.
    pub block_cache_bytes: u64,
    /// Size of what compaction has to rewrite before it has caught up, estimated.
    pub pending_compaction_bytes: u64,
    /// Number of compactions that run.
    pub running_compactions: u64,
    /// Number of flushes that run.
    pub running_flushes: u64,
    /// Number of errors of flushes and compactions since the opening.
    pub background_errors: u64,
    /// Whether RocksDB takes no writes at present, because it has to catch up first.
    pub writes_stopped: bool,
}

#[cfg(feature = "rocksdb")]
impl RowFigures {
    /// Asks RocksDB. A figure that it does not give is 0.
    pub(super) fn of(rocks: &DB, states: &[String], cache: &Cache) -> Self {
        let all = |name| rocks.property_int_value(name).ok().flatten().unwrap_or(0);
        let families: Vec<_> = states.iter().filter_map(|state| rocks.cf_handle(state)).collect();
        let each = |name| {
            families.iter().filter_map(|family| rocks.property_int_value_cf(family, name).ok().flatten()).sum::<u64>()
        };
        Self {
            rows: each(properties::ESTIMATE_NUM_KEYS),
            live_bytes: each(properties::ESTIMATE_LIVE_DATA_SIZE),
            files_bytes: each(properties::TOTAL_SST_FILES_SIZE),
            memtables_bytes: each(properties::CUR_SIZE_ALL_MEM_TABLES),
            table_readers_bytes: each(properties::ESTIMATE_TABLE_READERS_MEM),
            block_cache_bytes: cache.get_usage() as u64,
            pending_compaction_bytes: each(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            running_compactions: all(properties::NUM_RUNNING_COMPACTIONS),
            running_flushes: all(properties::NUM_RUNNING_FLUSHES),
            background_errors: all(properties::BACKGROUND_ERRORS),
            writes_stopped: all(properties::IS_WRITE_STOPPED) > 0,
        }
    }
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    use super::super::rocks::Rocks;
    use super::super::store::{Put, RowStore};

    #[test]
    fn rows_and_their_size_are_counted_over_all_states() {
        let rocks = Rocks::in_memory().unwrap();
        for state in ["a", "b"] {
            let rows = &mut |put: &mut Put<'_>| {
                (0..100_u64).try_for_each(|key| put(&[&[0, 0], &key.to_be_bytes()[..]].concat(), &[7; 100]))
            };
            rocks.put_rows(state, rows).unwrap();
        }
        let figures = rocks.figures().unwrap();
        assert_eq!(figures.rows, 200);
        assert!(figures.memtables_bytes > 20_000, "{figures:?}");
        assert_eq!((figures.background_errors, figures.writes_stopped), (0, false));
    }
}
