//! The list of all metric families. `/metrics` shows these and no others, `docs/operate/metrics.md` has one row for
//! each, and a test holds the two together.

use super::family::{Family, Kind};

/// The labels of a metric of one operator on one worker.
const OPERATOR: &[&str] = &["operator", "kind", "worker"];
/// The label of a metric of a worker.
const WORKER: &[&str] = &["worker"];

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(crate) static $id: Family = Family { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)*

        /// All metric families, in the order of the page of metrics.
        pub static FAMILIES: &[&Family] = &[$(&$id),*];
    };
}

families! {
    // The job, as this process sees it.
    JOB_INFO: Gauge "tidemill_job_info" &["job_name", "version", "workers", "process", "processes"], "Always 1; the labels say which job this is, of which version of Tidemill, and how it is spread.";
    JOB_STATE: Gauge "tidemill_job_state" &["state"], "1 for the state that the job is in, 0 for the others.";
    IN_FLIGHT: Gauge "tidemill_in_flight_records" &[], "Records in flight in this process.";
    IN_FLIGHT_LIMIT: Gauge "tidemill_in_flight_limit_records" &[], "Records in flight from which on sources wait: `max_in_flight`.";
    PENDING: Gauge "tidemill_pending_records" &[], "Records that wait for the watermark in operators that handle them in event-time order.";
    STATE_BYTES: Gauge "tidemill_state_bytes" &["operator", "state", "worker"], "Memory of keyed state, estimated, as it was when the running epoch began.";
    STATE_LIMIT: Gauge "tidemill_state_limit_bytes" &[], "Memory that keyed state may take in this process: `state_memory`.";
    MESH_REFUSED: Counter "tidemill_mesh_refused_connections_total" &["reason"], "Connections that were refused while the processes connected.";

    SPANS: Counter "tidemill_spans_total" &["result"], "Spans for the collector of OpenTelemetry: exported, dropped because the queue was full or the job ended, or failed.";

    // Checkpoints.
    EPOCH: Gauge "tidemill_epoch" &[], "The epoch that runs.";
    COMMITTED_EPOCH: Gauge "tidemill_committed_epoch" &[], "The newest committed epoch.";
    RESTORED_EPOCH: Gauge "tidemill_restored_epoch" &[], "The epoch from which the job was restored.";
    CHECKPOINTS: Counter "tidemill_checkpoints_total" &["result"], "Checkpoints by how they ended.";
    CHECKPOINTS_OPEN: Gauge "tidemill_checkpoints_in_progress" &[], "Epochs that have ended or run and are not committed.";
    CHECKPOINT_INTERVAL: Gauge "tidemill_checkpoint_interval_seconds" &[], "Time between two checkpoints: `checkpoint_interval`.";
    CHECKPOINT_DURATION: Histogram "tidemill_checkpoint_duration_seconds" &[], "Time from the end of an epoch to its commit.";
    CHECKPOINT_COMMITTED: Gauge "tidemill_checkpoint_last_committed_timestamp_seconds" &[], "When the last checkpoint was committed.";
    DELTA_BYTES: Counter "tidemill_checkpoint_delta_bytes_total" &[], "Bytes of deltas that were written to the checkpoint directory.";
    FREE_BYTES: Gauge "tidemill_checkpoint_disk_free_bytes" &[], "Room on the disk of the checkpoint directory, as of the last checkpoint.";
    LOST_FILES: Counter "tidemill_checkpoint_lost_files_total" &[], "Files of checkpoints that others removed or cut while the job ran.";

    // RocksDB, behind the keyed state of a worker.
    ROCKSDB_ROWS: Gauge "tidemill_rocksdb_rows" WORKER, "Rows of all states, estimated.";
    ROCKSDB_LIVE: Gauge "tidemill_rocksdb_live_data_bytes" WORKER, "Size of the rows that a scan would find, estimated.";
    ROCKSDB_FILES: Gauge "tidemill_rocksdb_files_bytes" WORKER, "Size of the files with rows.";
    ROCKSDB_MEMTABLES: Gauge "tidemill_rocksdb_memtables_bytes" WORKER, "Memory of the rows that are not in files yet.";
    ROCKSDB_TABLE_READERS: Gauge "tidemill_rocksdb_table_readers_bytes" WORKER, "Memory of the indexes and filters of open files, estimated.";
    ROCKSDB_BLOCK_CACHE: Gauge "tidemill_rocksdb_block_cache_bytes" WORKER, "Memory of the cache of blocks.";
    ROCKSDB_PENDING_COMPACTION: Gauge "tidemill_rocksdb_pending_compaction_bytes" WORKER, "Size of what compaction has to rewrite before it has caught up, estimated.";
    ROCKSDB_COMPACTIONS: Gauge "tidemill_rocksdb_running_compactions" WORKER, "Compactions that run.";
    ROCKSDB_FLUSHES: Gauge "tidemill_rocksdb_running_flushes" WORKER, "Flushes that run.";
    ROCKSDB_ERRORS: Counter "tidemill_rocksdb_background_errors_total" WORKER, "Errors of flushes and compactions.";
    ROCKSDB_STOPPED: Gauge "tidemill_rocksdb_writes_stopped" WORKER, "1 while RocksDB takes no writes because it has to catch up, otherwise 0.";

    // The process, as the operating system sees it. The names are those of Prometheus' client libraries.
    PROCESS_CPU: Counter "process_cpu_seconds_total" &[], "Processor time of the process, user and system.";
    PROCESS_START: Gauge "process_start_time_seconds" &[], "When the process was started, since 1970.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" &[], "Memory of the process that is resident.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" &[], "Virtual memory of the process.";
    PROCESS_THREADS: Gauge "process_threads" &[], "Threads of the process.";
    PROCESS_OPEN_FILES: Gauge "process_open_fds" &[], "Open files of the process.";
    PROCESS_MAX_FILES: Gauge "process_max_fds" &[], "Files that the process may open.";

    // All operators.
    RECORDS_IN: Counter "tidemill_operator_records_in_total" OPERATOR, "Records that came in; of a source, records that it read, without dead letters.";
    RECORDS_OUT: Counter "tidemill_operator_records_out_total" OPERATOR, "Records that went out; always 0 for a sink.";
    TIME: Counter "tidemill_operator_time_seconds_total" &["operator", "kind", "worker", "state"], "Time by what the operator did: it was busy, idle or backpressured.";
    OPERATOR_QUEUE: Gauge "tidemill_operator_queue_records" OPERATOR, "Records that wait at the operator: on their way from another worker, for the next epoch, for the watermark, for a batch or a free thread, or for a slow writer. Meaningful as the sum over the workers.";
    LATE: Counter "tidemill_operator_late_records_total" OPERATOR, "Records that were behind the watermark when they came.";
    DEAD_LETTERS: Counter "tidemill_operator_dead_letters_total" OPERATOR, "Dead letters: records or lines that could not be used.";
    DEAD_LETTERS_BY_REASON: Counter "tidemill_dead_letters_total" &["operator", "kind", "worker", "reason"], "Dead letters by reason.";
    WATERMARK: Gauge "tidemill_watermark_timestamp_seconds" OPERATOR, "The watermark: the event time that the operator has reached.";

    // Sources.
    BEHIND_WATERMARK: Counter "tidemill_source_behind_watermark_records_total" OPERATOR, "Records behind the source's own watermark.";
    TOO_FAR_AHEAD: Counter "tidemill_source_too_far_ahead_records_total" OPERATOR, "Records whose event time was further ahead of the clock than `max_ahead`.";
    ROTATIONS: Counter "tidemill_source_rotations_total" OPERATOR, "File source: files that were left for the next one after a rotation.";
    SOURCE_LOST_FILES: Counter "tidemill_source_lost_files_total" OPERATOR, "File source: files of which lines may be lost (with `LostFile::ReadOn`).";
    REFERENCE_VERSIONS: Counter "tidemill_reference_versions_total" &["operator", "kind", "worker", "result"], "Reference file: versions that were emitted as a whole, and versions that were refused.";
    REFERENCE_ROWS: Gauge "tidemill_reference_rows" OPERATOR, "Reference file: rows of the current version.";
    SOURCE_PARTITIONS: Gauge "tidemill_source_partitions" OPERATOR, "Kafka source: partitions that are read. Kinesis source: shards. MQTT source: sessions.";
    SOURCE_LAG: Gauge "tidemill_source_lag_records" OPERATOR, "Kafka source: offsets between what was read and the end of each partition, added up.";
    PARTITION_WATERMARK: Gauge "tidemill_source_watermark_timestamp_seconds" &["operator", "kind", "worker", "partition"], "Kafka and Kinesis sources: the watermark of a partition or shard.";
    PARTITION_PENDING: Gauge "tidemill_source_pending_records" &["operator", "kind", "worker", "partition"], "Kafka source: records of a partition that are not read yet. Kinesis source: those of a shard that were fetched.";
    PARTITION_STATE: Gauge "tidemill_source_partition_state" &["operator", "kind", "worker", "partition", "state"], "Kafka and Kinesis sources: 1 for the state that a partition or shard is in, 0 for the others.";
    TOMBSTONES: Counter "tidemill_source_tombstones_total" OPERATOR, "Kafka source: tombstones that became dead letters.";
    REDELIVERED: Counter "tidemill_source_redelivered_total" OPERATOR, "MQTT source: messages that the broker sent again and that were dropped, because they were known.";
    LOST_SESSIONS: Counter "tidemill_source_lost_sessions_total" OPERATOR, "MQTT source: sessions that the broker no longer had.";
    DISCONNECTIONS: Counter "tidemill_source_disconnections_total" OPERATOR, "MQTT source: connections that were lost, or could not be made.";
    UNSAFE_MESSAGES: Counter "tidemill_source_qos_0_total" OPERATOR, "MQTT source: messages of QoS 0, which a crash can lose.";
    LOST_ENTRIES: Counter "tidemill_source_lost_entries_total" OPERATOR, "Redis stream source: entries that were gone before they were read (with `LostEntries::Accept`); 1 for a stream that was deleted, made again or fell back.";
    UNACKNOWLEDGED: Gauge "tidemill_source_unacknowledged" OPERATOR, "MQTT source: messages that were read and are not known to be acknowledged.";
    BEHIND_LATEST: Gauge "tidemill_source_behind_latest_seconds" OPERATOR, "Kinesis source: how far reading is behind the end of the stream, at the shard that is furthest behind.";
    FAILED_READS: Counter "tidemill_source_failed_reads_total" OPERATOR, "Kinesis source: requests that failed and were made again, those that the service throttled aside.";
    THROTTLED_READS: Counter "tidemill_source_throttled_reads_total" OPERATOR, "Kinesis source: requests that the service refused because there were too many.";
    EXPIRED_ITERATORS: Counter "tidemill_source_expired_iterators_total" OPERATOR, "Kinesis source: iterators that had expired and were asked for again.";
    UNREAD_EXPIRED: Counter "tidemill_source_unread_expired_total" OPERATOR, "Kinesis source: times at which records may have expired before they were read (with `LostRecords::Accept`).";
    INGEST_REQUESTS: Counter "tidemill_source_requests_total" &["operator", "kind", "worker", "result"], "HTTP source: requests by their result.";
    INGEST_BYTES: Counter "tidemill_source_request_bytes_total" OPERATOR, "HTTP source: bytes of the bodies that were taken, after decompression.";
    INGEST_WAITING: Gauge "tidemill_source_waiting_requests" OPERATOR, "HTTP source: requests that are answered when their epoch is committed.";
    INGEST_QUEUED: Gauge "tidemill_source_queued_bytes" OPERATOR, "HTTP source: bytes of requests that are being received, or wait to be read.";
    INGEST_KEYS: Gauge "tidemill_source_idempotency_keys" OPERATOR, "HTTP source: keys of requests that are remembered.";
    BROKER_ERRORS: Counter "tidemill_kafka_errors_total" OPERATOR, "Kafka source and sink: errors that librdkafka reported, such as a broker that went away.";

    // Models and lookups.
    BATCHES: Counter "tidemill_batches_total" OPERATOR, "Batches that were run.";
    BATCH_SIZE: Histogram "tidemill_batch_size_records" OPERATOR, "Records per batch.";
    BATCH_SIZE_LIMIT: Gauge "tidemill_batch_size_limit_records" OPERATOR, "Model: largest batch at present.";
    BATCH_RETRIES: Counter "tidemill_batch_retries_total" OPERATOR, "Retries of batches.";
    MODEL_RECORDS: Counter "tidemill_model_records_total" &["operator", "kind", "worker", "origin"], "Model: records by what gave their score.";
    MODEL_NOT_FINITE: Counter "tidemill_model_not_finite_scores_total" OPERATOR, "Model: scores that were NaN or infinite and did not count, once for each model that gave one.";
    MODEL_BISECTIONS: Counter "tidemill_model_bisections_total" OPERATOR, "Model: batches that failed and were cut in halves to find the records at fault.";
    MODEL_ODD_FEATURES: Counter "tidemill_model_odd_features_total" &["operator", "kind", "worker", "oddity"], "Model: features of which its features.json says what becomes of them.";
    MODEL_TIME: Counter "tidemill_model_time_seconds_total" &["operator", "kind", "worker", "step"], "Model: time of the steps of all batches.";
    LOOKUP_ROWS: Counter "tidemill_lookup_fetched_rows_total" OPERATOR, "Lookup: rows that were fetched because they were not in the cache.";
    SERVER_CALLS: Counter "tidemill_model_server_calls_total" OPERATOR, "Calls that were made, retries included.";
    SERVER_FAILURES: Counter "tidemill_model_server_failures_total" OPERATOR, "Calls that failed because of the server.";
    SERVER_KEPT_BACK: Counter "tidemill_model_server_kept_back_calls_total" OPERATOR, "Calls that were not made because the circuit was open.";
    CIRCUIT_CHANGES: Counter "tidemill_model_server_circuit_changes_total" &["operator", "kind", "worker", "to"], "How often the circuit opened and closed.";
    CIRCUIT_OPEN: Gauge "tidemill_model_server_circuit_open" OPERATOR, "1 while the circuit is not closed, otherwise 0.";

    // Latency, and sinks.
    LATENCY: Histogram "tidemill_latency_seconds" &["operator", "kind", "worker", "stage"], "Time that records or batches took, by stage.";
    STAGED_BYTES: Counter "tidemill_sink_staged_token_bytes_total" OPERATOR, "Bytes that the sink put into deltas, so that a restart can publish them.";
    UNPUBLISHED_EPOCHS: Gauge "tidemill_sink_unpublished_epochs" OPERATOR, "Committed epochs whose output the sink has not published yet. It grows while the target does not answer.";
    UNPUBLISHED_BYTES: Gauge "tidemill_sink_unpublished_bytes" OPERATOR, "Bytes of tokens of committed epochs that the sink has not published yet. From 64 MiB on, the sink takes no more records.";
    WEBHOOK_REQUESTS: Counter "tidemill_webhook_requests_total" &["operator", "kind", "worker", "result"], "Webhook: requests by their result.";

    // What a program's own operators count.
    USER_EVENTS: Counter "tidemill_user_events_total" &["operator", "kind", "worker", "name"], "A counter of the program's own.";
    USER_VALUE: Gauge "tidemill_user_value" &["operator", "kind", "worker", "name"], "A gauge of the program's own.";
    USER_DURATION: Histogram "tidemill_user_duration_seconds" &["operator", "kind", "worker", "name"], "A distribution of the program's own whose name ends in `_us`.";
    USER_SIZE: Histogram "tidemill_user_size" &["operator", "kind", "worker", "name"], "Any other distribution of the program's own.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "a name is there twice");
        for family in FAMILIES {
            let Family { name, kind, labels, help } = family;
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "{name}");
            assert!(!labels.contains(&"le") && !labels.contains(&"quantile"), "{name}");
        }
    }
}
