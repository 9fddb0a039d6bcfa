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
//! The crates behind this face: [`engine`] (time, streams, checkpoints, jobs), [`state`] (keyed state,
//! RocksDB), [`operators`] (windows, joins, tables, patterns, inference) and [`connectors`] (sources, sinks).

pub use tidemill_connectors as connectors;
pub use tidemill_engine as engine;
#[cfg(feature = "testing")]
pub use tidemill_engine::testing;
pub use tidemill_operators as operators;
#[cfg(feature = "tables")]
pub use tidemill_operators::differential;
pub use tidemill_operators::features;
pub use tidemill_operators::infer::nan_as_null;
pub use tidemill_state as state;

/// What a dataflow program needs.
pub mod prelude {
    pub use tidemill_connectors::{
        CollectSink, FileSink, FileSource, Generator, LostFile, MaxMalformed, NullSink, ReferenceExt, ReferenceFile,
        vec_source,
    };
    #[cfg(feature = "kafka")]
    pub use tidemill_connectors::{KafkaSink, KafkaSource};
    #[cfg(feature = "cli")]
    pub use tidemill_engine::JobArgs;
    pub use tidemill_engine::shell::{Context, KeyedLogic, ListState, LogicError, MapState, Order, States, ValueState};
    pub use tidemill_engine::time::{ProcessingTime, days, hours, millis, minutes, secs};
    pub use tidemill_engine::{
        Clock, Data, DeadLetter, Either, EventTime, Flow, Job, JobError, JobSettings, KeyedStream, OperatorSnapshot,
        Record, Snapshot, Stream,
    };
    pub use tidemill_operators::deduplicate::{DeduplicateExt, DeduplicateOutput};
    pub use tidemill_operators::features;
    pub use tidemill_operators::fold::FoldExt;
    #[cfg(feature = "onnx")]
    pub use tidemill_operators::infer::Model;
    pub use tidemill_operators::infer::{
        BatchSize, Features, InferExt, InferSettings, ModelInfo, Models, ScoreOrigin, Scored,
    };
    pub use tidemill_operators::join::{
        Between, BroadcastExt, BroadcastJoinExt, FetchSettings, JoinExt, JoinKind, JoinOutput, Joined, LookupExt,
        LookupSettings, TemporalTable, TimeOffset, earlier, later,
    };
    pub use tidemill_operators::pattern::{Pattern, PatternExt, PatternOutput};
    pub use tidemill_operators::pool::PoolSettings;
    pub use tidemill_operators::rolling::{Rolled, Rolling, Totals};
    pub use tidemill_operators::sample::SampleExt;
    #[cfg(feature = "tables")]
    pub use tidemill_operators::table::{Change, Changelog, Table, TableExt, TableOutput, Upsert};
    pub use tidemill_operators::throttle::{Rate, ThrottleExt, ThrottleOutput};
    pub use tidemill_operators::window::{
        AccumulationMode, Aggregate, Assigner, ExactStats, Firing, Stats, StatsArray, TimeDomain, Trigger, Weekday,
        Window, WindowAssigner, WindowExt, WindowOutput, Windowed, counting, full_window, stats_of, top_n,
    };
    #[cfg(feature = "sketches")]
    pub use tidemill_operators::window::{Quantiles, distinct_of, quantiles_of};
    pub use tidemill_state::{Key, Parameters, Ttl, TtlClock, Value, Versions};
}

/// The programs in the pages are compiled.
#[cfg(all(doctest, feature = "kafka", feature = "avro", feature = "protobuf", feature = "tables", feature = "cli"))]
#[doc = include_str!("../docs/kafka.md")]
struct KafkaPage;

#[cfg(all(doctest, feature = "parquet", feature = "cli"))]
#[doc = include_str!("../docs/files.md")]
struct FilesPage;

#[cfg(all(doctest, feature = "onnx", feature = "cli"))]
#[doc = include_str!("../docs/inference.md")]
struct InferencePage;

#[cfg(all(doctest, feature = "onnx", feature = "model-servers", feature = "cli"))]
#[doc = include_str!("../docs/model-servers.md")]
struct ModelServersPage;

/// A module per page, so that each program is a test with the page's name.
#[cfg(all(
    doctest,
    feature = "rocksdb",
    feature = "tables",
    feature = "sketches",
    feature = "cli",
    feature = "testing"
))]
mod operator_pages {
    #[doc = include_str!("../docs/operators/testing.md")]
    mod testing {}
    #[doc = include_str!("../docs/operators/streams.md")]
    mod streams {}
    #[doc = include_str!("../docs/operators/totals.md")]
    mod totals {}
    #[doc = include_str!("../docs/operators/process.md")]
    mod process {}
    #[doc = include_str!("../docs/operators/windows.md")]
    mod windows {}
    #[doc = include_str!("../docs/operators/aggregates.md")]
    mod aggregates {}
    #[doc = include_str!("../docs/operators/rolling.md")]
    mod rolling {}
    #[doc = include_str!("../docs/operators/window_join.md")]
    mod window_join {}
    #[doc = include_str!("../docs/operators/interval_join.md")]
    mod interval_join {}
    #[doc = include_str!("../docs/operators/temporal_join.md")]
    mod temporal_join {}
    #[doc = include_str!("../docs/operators/broadcast_join.md")]
    mod broadcast_join {}
    #[doc = include_str!("../docs/operators/lookup_join.md")]
    mod lookup_join {}
    #[doc = include_str!("../docs/operators/reference_file.md")]
    mod reference_file {}
    #[doc = include_str!("../docs/operators/tables.md")]
    mod tables {}
    #[doc = include_str!("../docs/operators/deduplicate.md")]
    mod deduplicate {}
    #[doc = include_str!("../docs/operators/throttle.md")]
    mod throttle {}
    #[doc = include_str!("../docs/operators/evolution.md")]
    mod evolution {}
    #[doc = include_str!("../docs/operators/pattern.md")]
    mod pattern {}
}
