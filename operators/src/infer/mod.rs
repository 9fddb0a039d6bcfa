//! Inference: a model as an operator of the dataflow graph, which scores records in batches.
//!
//! ```text
//! records ─▶ codec.rs, codecs.rs: rows of tensors (work.rs) ─▶ ladder.rs: backend, in line or on a thread ─▶ records + score
//!              │ size.rs: the batch size              └─ NaN · retry · halves · fallback model; loaded.rs: one model
//!              └─ operator.rs: a record that all models failed on gets the default score, or becomes a dead letter
//! backend.rs: the traits of models  ·  model.rs, file.rs, session.rs: an ONNX model  ·  simulated.rs: a slow or failing model
//! engine.rs: ONNX Runtime, or trees/: models that are ensembles of trees, which are walked by code of our own
//! repository/: versions of models in a folder, and the gates through which one is loaded
//! models.rs: versions that take turns in event time, and the fallback  ·  live/: versions that change while the job runs
//! outlets.rs: inputs and outputs of an ONNX model  ·  external.rs: its weights in other files  ·  onnx_log.rs: its log
//! ```

mod backend;
mod codec;
mod codecs;
mod element;
#[cfg(feature = "onnx")]
mod engine;
mod error;
#[cfg(any(feature = "onnx", feature = "model-servers"))]
mod export;
#[cfg(feature = "onnx")]
mod external;
mod features;
mod field;
#[cfg(feature = "onnx")]
mod file;
mod finite;
mod ladder;
mod live;
mod loaded;
#[cfg(feature = "onnx")]
mod manifest;
#[cfg(feature = "onnx")]
mod model;
mod models;
pub mod nan_as_null;
mod narrow;
#[cfg(feature = "onnx")]
mod onnx_log;
mod operator;
#[cfg(feature = "onnx")]
mod outlets;
#[cfg(feature = "onnx")]
mod repository;
#[cfg(feature = "onnx")]
mod runtime;
#[cfg(feature = "model-servers")]
pub mod server;
#[cfg(feature = "onnx")]
mod session;
mod settings;
#[cfg(feature = "testing")]
mod simulated;
mod size;
mod spec;
mod takes;
mod tensor;
#[cfg(feature = "onnx")]
mod trees;
mod versions;
mod wanted;
#[cfg(any(feature = "onnx", feature = "model-servers"))]
#[cfg_attr(not(feature = "model-servers"), allow(dead_code, reason = "of models' files only weights are looked up"))]
mod wire;
mod work;

pub use backend::{Backend, ModelInfo, ModelSource, RunError};
pub use codec::{InputRow, OutputRow};
pub use element::{ElementType, Elements};
#[cfg(feature = "onnx")]
pub use engine::Engine;
pub use error::ModelError;
#[doc(hidden)]
pub use features::narrow_all;
pub use features::{Features, narrowed};
pub use field::{Aged, FeatureCell, FeatureKind};
#[doc(hidden)]
pub use field::{FeatureValue, ReadFeature, WrittenFeature};
pub use half::{bf16, f16};
pub(crate) use live::Labels;
pub use live::ModelRole;
#[cfg(feature = "onnx")]
pub use model::Model;
pub use models::Models;
pub use operator::{InferExt, ScoreOrigin, Scored};
#[cfg(feature = "onnx")]
pub use repository::{ModelRepository, ModelVersion, RepositoryVersions};
#[cfg(feature = "onnx")]
pub use session::{Provider, SessionSettings};
pub use settings::{BatchSize, InferSettings};
#[cfg(feature = "testing")]
pub use simulated::Simulated;
pub use spec::FeatureRules;
pub use tensor::{Tensor, TensorSpec};
pub use versions::{VersionId, VersionSource};
pub use wanted::{ModelRef, VersionChoice};
