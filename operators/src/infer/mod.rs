//! Inference: a model as an operator of the graph, fed in batches.
//!
//! ```text
//! records ─▶ features.rs: write features into the tensor ─▶ model.rs: session ─▶ records + score
//!                                     └─ a batch that fails is cut in halves until the bad record is alone:
//!                                        that one gets the fallback score, or becomes a dead letter
//! ```

mod features;
mod model;
mod operator;

pub use features::Features;
pub use model::{Model, ModelError, ModelInfo};
pub use operator::{InferExt, InferSettings, Scored};
