//! Tidemill: a stream-processing engine for **predictions on data in motion**.
//!
//! A program reads events, builds features from keyed, windowed state, scores them with a model that
//! is an operator of the graph, and acts while the event still matters. It runs on timely dataflow,
//! keeps its state in checkpoints, and gives each answer exactly once, whatever dies when.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidemill::prelude::*;
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Reading { machine: String, celsius: f64 }
//!
//! # fn main() -> Result<(), JobError> {
//! let readings = (0..100).map(|n| (EventTime(n * 500), Reading { machine: "pump".into(), celsius: 60.0 + n as f64 }));
//! let source = vec_source(readings.collect());
//! let hot = CollectSink::default();
//! let sink = hot.clone();
//! Job::new("overheating", JobSettings::default()).run(move |flow| {
//!     flow.source("readings", &source)?
//!         .key_by(|reading| reading.machine.clone())
//!         .window("10s", Assigner::tumbling(secs(10)))
//!         .aggregate(stats_of(|reading: &Reading| reading.celsius))?
//!         .results
//!         .filter(|window| window.value.mean() > 120.0)
//!         .sink("hot", &sink)
//! })?;
//! assert_eq!(hot.data().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! What it brings is chosen by Cargo features; `rocksdb`, `onnx`, `http` and `cli` are on by default. `docs/features.md` says what each is
//! for.
//!
//! # Where things are
//!
//! [`prelude`] has what most programs need, in groups. The rest is in modules by what it is for:
//!
//! | module | for |
//! | --- | --- |
//! | [`job`], [`error`], [`metrics`], `cli` | running a job, its settings, what it reports |
//! | [`stream`], [`time`] | streams and their records; event time, processing time, durations |
//! | [`process`], [`state`] | logic of one's own with keyed state and timers |
//! | [`window`], [`join`], [`rolling`], [`pattern`], [`deduplicate`], [`throttle`], [`fold`], [`sample`], `table` | the operators |
//! | [`infer`] | models |
//! | [`source`], [`sink`], [`mod@file`], `kafka`, `kinesis`, `mqtt`, `ingest`, `postgres`, `redis`, `webhook`, [`generator`], [`memory`] | where data comes from and goes to, and connectors of one's own |
//! | `testing` | a test's own world: simulated time, crashes, restores |
//!
//! The crates behind this face (`tidemill-engine`, `tidemill-operators`, `tidemill-connectors`, `tidemill-state`) are internal:
//! what they export besides may change with any release. Programs name this one only.

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "ingest")]
pub use tidemill_connectors::ingest;
#[cfg(feature = "kafka")]
pub use tidemill_connectors::kafka;
#[cfg(feature = "kinesis")]
pub use tidemill_connectors::kinesis;
#[cfg(feature = "mqtt")]
pub use tidemill_connectors::mqtt;
#[cfg(feature = "postgres")]
pub use tidemill_connectors::postgres;
#[cfg(feature = "redis")]
pub use tidemill_connectors::redis;
#[cfg(feature = "webhook")]
pub use tidemill_connectors::webhook;
pub use tidemill_connectors::{file, generator, memory};
#[cfg(feature = "cli")]
pub use tidemill_engine::cli;
#[cfg(feature = "testing")]
pub use tidemill_engine::testing;
pub use tidemill_engine::{metrics, sink};
pub use tidemill_operators::infer::nan_as_null;
pub use tidemill_operators::{
    deduplicate, drift, features, fold, infer, join, labels, pattern, pool, rolling, sample, throttle, window,
};
#[cfg(feature = "tables")]
pub use tidemill_operators::{differential, table};

/// A job: what it runs with, and what it says of itself.
pub mod job {
    #[cfg(feature = "cli")]
    pub use tidemill_engine::JobArgs;
    pub use tidemill_engine::{Job, JobSettings, JobSetup, JobState, OperatorSnapshot, Snapshot};
    pub use tidemill_state::{ClaimMode, Rename, RestoreFrom};
}

/// Changes of operators while the job runs.
pub mod control {
    pub use tidemill_engine::{ChangeEvent, ChangeRequest, ControlEntry, Controlled};
}

/// What can go wrong, sorted by what its user does about it.
pub mod error {
    pub use tidemill_engine::{ConnectorError, ErrorKind, JobError, Remedy, with_causes};
    pub use tidemill_state::StateError;
}

/// Streams, and what is in them.
pub mod stream {
    pub use tidemill_engine::{Arrival, Board, Data, DeadLetter, Either, Flow, KeyedStream, Record, Stream};
}

/// Event time, processing time, durations, epochs, and the job's clock.
pub mod time {
    pub use tidemill_engine::Clock;
    pub use tidemill_engine::time::*;
}

/// Logic of one's own, by key (with state and timers) or in batches.
pub mod process {
    pub use tidemill_engine::shell::*;
}

/// Keyed state: what keys and values are, how long they are kept, how their types change.
pub mod state {
    pub use tidemill_state::{Key, KeyGroup, Parameters, Ttl, TtlClock, Value, Versions, hash_key};
}

/// Sources: what all of them share, and the contract that one's own fulfils.
pub mod source {
    pub use tidemill_connectors::MaxMalformed;
    pub use tidemill_engine::source::*;
}

/// What a dataflow program needs.
pub mod prelude {
    // The job.
    pub use crate::error::JobError;
    #[cfg(feature = "cli")]
    pub use crate::job::JobArgs;
    pub use crate::job::{Job, JobSettings, OperatorSnapshot, Snapshot};

    // Streams and time.
    pub use crate::stream::{Data, DeadLetter, Either, Flow, KeyedStream, Record, Stream};
    pub use crate::time::{Clock, EventTime, ProcessingTime, days, hours, millis, minutes, secs};

    // Logic of one's own, and its state.
    pub use crate::process::{Context, KeyedLogic, ListState, LogicError, MapState, Order, States, ValueState};
    pub use crate::state::{Key, Parameters, Ttl, TtlClock, Value, Versions};

    // Windows and their aggregates.
    pub use crate::window::{
        AccumulationMode, Aggregate, Assigner, ExactStats, Firing, Stats, StatsArray, TimeDomain, Trigger, Weekday,
        Window, WindowAssigner, WindowExt, WindowOutput, Windowed, counting, full_window, stats_of, top_n,
    };
    #[cfg(feature = "sketches")]
    pub use crate::window::{Quantiles, distinct_of, quantiles_of};

    // Other operators.
    pub use crate::deduplicate::{DeduplicateExt, DeduplicateOutput};
    pub use crate::fold::FoldExt;
    pub use crate::join::{
        Between, BroadcastExt, BroadcastJoinExt, FetchSettings, JoinExt, JoinKind, JoinOutput, Joined, LookupExt,
        LookupSettings, TemporalTable, TimeOffset, earlier, later,
    };
    pub use crate::pattern::{Pattern, PatternExt, PatternOutput};
    pub use crate::rolling::{Rolled, Rolling, Totals};
    pub use crate::sample::SampleExt;
    #[cfg(feature = "tables")]
    pub use crate::table::{Change, Changelog, Table, TableExt, TableOutput, Upsert};
    pub use crate::throttle::{Rate, ThrottleExt, ThrottleOutput};

    // Models.
    pub use crate::features;
    #[cfg(feature = "onnx")]
    pub use crate::infer::Model;
    pub use crate::infer::{BatchSize, Features, InferExt, InferSettings, ModelInfo, Models, ScoreOrigin, Scored};
    pub use crate::pool::PoolSettings;

    // Sources and sinks.
    pub use crate::file::{FileSink, FileSource, LostFile, ReferenceExt, ReferenceFile};
    pub use crate::generator::Generator;
    #[cfg(feature = "ingest")]
    pub use crate::ingest::HttpSource;
    #[cfg(feature = "kafka")]
    pub use crate::kafka::{KafkaSink, KafkaSource};
    #[cfg(feature = "kinesis")]
    pub use crate::kinesis::KinesisSource;
    pub use crate::memory::{CollectSink, NullSink, vec_source};
    #[cfg(feature = "mqtt")]
    pub use crate::mqtt::MqttSource;
    #[cfg(feature = "postgres")]
    pub use crate::postgres::PostgresSink;
    #[cfg(feature = "redis")]
    pub use crate::redis::{RedisSink, RedisStreamSource};
    pub use crate::source::MaxMalformed;
    #[cfg(feature = "webhook")]
    pub use crate::webhook::WebhookSink;
}

/// The programs in the pages are tests. They need all features, as the tests of this repository do.
#[cfg(all(
    doctest,
    feature = "rocksdb",
    feature = "kafka",
    feature = "kinesis",
    feature = "mqtt",
    feature = "postgres",
    feature = "redis",
    feature = "ingest",
    feature = "webhook",
    feature = "parquet",
    feature = "avro",
    feature = "protobuf",
    feature = "onnx",
    feature = "model-servers",
    feature = "tables",
    feature = "sketches",
    feature = "http",
    feature = "cli",
    feature = "otlp",
    feature = "testing"
))]
mod pages;
