//! Inference: a model as an operator of the graph, fed in batches.

mod backend;
mod error;
mod features;
mod model;
pub mod server;
mod session;
mod tensor;

pub use backend::{Backend, ModelInfo, ModelSource, RunError};
pub use error::ModelError;
pub use features::Features;
pub use model::Model;
pub use session::{Provider, SessionSettings};
pub use tensor::{ElementType, Elements, Tensor, TensorSpec};
