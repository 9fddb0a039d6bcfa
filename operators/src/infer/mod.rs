//! Inference: a model as an operator of the graph, fed in batches.
//!
//! ```text
//! records ─▶ codec.rs: rows of tensors (work.rs) ─▶ ladder.rs: backend, in line or on a thread ─▶ records + score
//!              │ size.rs: how many at a time          └─ retry · halves · fallback model
//!              └─ operator.rs: what all of them failed on gets the default score, or becomes a dead letter
//! backend.rs: what scores a batch  ·  model.rs, session.rs: an ONNX model is one  ·  simulated.rs: one that is slow, or fails
//! ```

mod backend;
mod codec;
mod error;
mod features;
mod ladder;
mod model;
mod operator;
pub mod server;
mod session;
mod settings;
mod simulated;
mod size;
mod tensor;
mod work;

pub use backend::{Backend, ModelInfo, ModelSource, RunError};
pub use codec::{OutputRow, Row};
pub use error::ModelError;
pub use features::Features;
pub use model::Model;
pub use operator::{InferExt, Models, Scored, Source};
pub use session::{Provider, SessionSettings};
pub use settings::{BatchSize, InferSettings};
pub use simulated::Simulated;
pub use tensor::{ElementType, Elements, Tensor, TensorSpec};
