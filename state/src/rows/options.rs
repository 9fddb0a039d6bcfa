//! The options that RocksDB is opened with.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rocksdb::compaction_filter::Decision as CompactionDecision;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options, SliceTransform, WriteOptions};

use crate::codec;

/// Maximum size of RocksDB's write buffers before they are flushed, for all states of a worker together. Like the block
/// cache, they come on top of the memory limit of hot state.
pub(super) const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// Maximum size of RocksDB's block cache, for all states of a worker together.
pub(super) const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// Size at which RocksDB starts a new list of its files (its manifest). Each base has a copy of the list.
const MAX_LIST_BYTES: usize = 1 << 20;
/// Size at which RocksDB starts a new info log.
const MAX_LOG_BYTES: usize = 4 << 20;

pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MAX_LOG_BYTES);
    options.set_max_manifest_file_size(MAX_LIST_BYTES);
    options
}

pub(super) fn family_options(cache: &Cache, expired: Arc<AtomicI64>, write_buffer_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    // Expired rows are removed by compaction.
    options.set_compaction_filter("expired", move |_, _, value| {
        let before = expired.load(Ordering::Relaxed);
        let expires = (before > i64::MIN).then(|| codec::expiry_of_value(value)).flatten();
        if expires.is_some_and(|at| at <= before) { CompactionDecision::Remove } else { CompactionDecision::Keep }
    });
    // With these options, a read of one entry's rows skips every buffer and file that has none of them.
    options.set_prefix_extractor(SliceTransform::create("row", codec::entry_of_row, None));
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options
}

/// Options for writes without RocksDB's own log. It would never be read: after a crash state is restored from the
/// checkpoint's base and deltas.
pub(super) fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
