//! Which family shows a metric that an operator registers under a name of its own.
//!
//! `/status` has these metrics under the names that are registered; the ends of those names are units, which the
//! families do not have: `_ns` and `_us` become seconds.

use super::family::Family;
use super::list as families;

/// The place of an operator's own metric: its family, and the label that it adds to those of the operator.
pub(super) struct Place {
    pub(super) family: &'static Family,
    pub(super) label: Option<(&'static str, &'static str)>,
}

/// Returns the place of the metric `name`; `None` for one that only the program knows.
pub(super) fn place(name: &str) -> Option<Place> {
    let (family, label) = match name {
        "too_far_ahead" => (&families::TOO_FAR_AHEAD, None),
        "rotations" => (&families::ROTATIONS, None),
        "lost_files" => (&families::SOURCE_LOST_FILES, None),
        "versions" => (&families::REFERENCE_VERSIONS, Some(("result", "emitted"))),
        "refused_versions" => (&families::REFERENCE_VERSIONS, Some(("result", "refused"))),
        "rows" => (&families::REFERENCE_ROWS, None),
        "partitions" => (&families::SOURCE_PARTITIONS, None),
        "lag_records" => (&families::SOURCE_LAG, None),
        "tombstones" => (&families::TOMBSTONES, None),
        "redelivered" => (&families::REDELIVERED, None),
        "lost_sessions" => (&families::LOST_SESSIONS, None),
        "disconnections" => (&families::DISCONNECTIONS, None),
        "qos_0" => (&families::UNSAFE_MESSAGES, None),
        "lost_entries" => (&families::LOST_ENTRIES, None),
        "unacknowledged" => (&families::UNACKNOWLEDGED, None),
        "behind_latest_us" => (&families::BEHIND_LATEST, None),
        "failed_reads" => (&families::FAILED_READS, None),
        "throttled_reads" => (&families::THROTTLED_READS, None),
        "expired_iterators" => (&families::EXPIRED_ITERATORS, None),
        "unread_expired" => (&families::UNREAD_EXPIRED, None),
        "ingest_committed" => (&families::INGEST_REQUESTS, Some(("result", "committed"))),
        "ingest_repeated" => (&families::INGEST_REQUESTS, Some(("result", "repeated"))),
        "ingest_refused" => (&families::INGEST_REQUESTS, Some(("result", "refused"))),
        "ingest_unauthorized" => (&families::INGEST_REQUESTS, Some(("result", "unauthorized"))),
        "ingest_full" => (&families::INGEST_REQUESTS, Some(("result", "full"))),
        "ingest_unanswered" => (&families::INGEST_REQUESTS, Some(("result", "unanswered"))),
        "ingest_bytes" => (&families::INGEST_BYTES, None),
        "ingest_waiting" => (&families::INGEST_WAITING, None),
        "ingest_queued_bytes" => (&families::INGEST_QUEUED, None),
        "ingest_keys" => (&families::INGEST_KEYS, None),
        "broker_errors" => (&families::BROKER_ERRORS, None),
        "queue_records" => (&families::OPERATOR_QUEUE, None),
        "batches" => (&families::BATCHES, None),
        "batch_size_records" => (&families::BATCH_SIZE, None),
        "batch_size_limit" => (&families::BATCH_SIZE_LIMIT, None),
        "retries" => (&families::BATCH_RETRIES, None),
        "scored" => (&families::MODEL_RECORDS, Some(("origin", "model"))),
        "fallbacks" => (&families::MODEL_RECORDS, Some(("origin", "fallback"))),
        "defaults" => (&families::MODEL_RECORDS, Some(("origin", "default"))),
        "not_finite" => (&families::MODEL_NOT_FINITE, None),
        "features_missing" => (&families::MODEL_ODD_FEATURES, Some(("oddity", "missing"))),
        "features_unknown" => (&families::MODEL_ODD_FEATURES, Some(("oddity", "unknown"))),
        "features_out_of_range" => (&families::MODEL_ODD_FEATURES, Some(("oddity", "out_of_range"))),
        "features_too_old" => (&families::MODEL_ODD_FEATURES, Some(("oddity", "too_old"))),
        "bisections" => (&families::MODEL_BISECTIONS, None),
        "encode_ns" => (&families::MODEL_TIME, Some(("step", "encode"))),
        "gather_ns" => (&families::MODEL_TIME, Some(("step", "gather"))),
        "queue_ns" => (&families::MODEL_TIME, Some(("step", "queue"))),
        "model_ns" => (&families::MODEL_TIME, Some(("step", "model"))),
        "decode_ns" => (&families::MODEL_TIME, Some(("step", "decode"))),
        "rows_fetched" => (&families::LOOKUP_ROWS, None),
        "server_calls" => (&families::SERVER_CALLS, None),
        "server_failures" => (&families::SERVER_FAILURES, None),
        "server_kept_back" => (&families::SERVER_KEPT_BACK, None),
        "circuit_opened" => (&families::CIRCUIT_CHANGES, Some(("to", "open"))),
        "circuit_closed" => (&families::CIRCUIT_CHANGES, Some(("to", "closed"))),
        "circuit_open" => (&families::CIRCUIT_OPEN, None),
        "read_us" => (&families::LATENCY, Some(("stage", "source"))),
        "pending_us" => (&families::LATENCY, Some(("stage", "pending"))),
        "turn_us" => (&families::LATENCY, Some(("stage", "features"))),
        "queue_us" => (&families::LATENCY, Some(("stage", "queue"))),
        "batch_latency_us" => (&families::LATENCY, Some(("stage", "batch"))),
        "model_batch_us" => (&families::LATENCY, Some(("stage", "inference"))),
        "latency_us" => (&families::LATENCY, Some(("stage", "sink"))),
        "commit_us" => (&families::LATENCY, Some(("stage", "commit"))),
        "visible_latency_us" => (&families::LATENCY, Some(("stage", "total"))),
        "unpublished_bytes" => (&families::UNPUBLISHED_BYTES, None),
        "unpublished_epochs" => (&families::UNPUBLISHED_EPOCHS, None),
        "requests_delivered" => (&families::WEBHOOK_REQUESTS, Some(("result", "delivered"))),
        "requests_retried" => (&families::WEBHOOK_REQUESTS, Some(("result", "retried"))),
        "requests_refused" => (&families::WEBHOOK_REQUESTS, Some(("result", "refused"))),
        "request_us" => (&families::LATENCY, Some(("stage", "request"))),
        "staged_token_bytes" => (&families::STAGED_BYTES, None),
        _ => return None,
    };
    Some(Place { family, label })
}

/// Returns how many of the unit at the end of `name` make one base unit.
pub(super) fn per_base_unit(name: &str) -> f64 {
    match name {
        name if name.ends_with("_ns") => 1e9,
        name if name.ends_with("_us") => 1e6,
        _ => 1.0,
    }
}
