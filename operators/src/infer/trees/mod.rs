//! Forests: models that are ensembles of trees, walked by code of our own.
//!
//! ```text
//! an ONNX file ─▶ proto.rs ─▶ onnx.rs: an ensemble ─▶ graph.rs: what surrounds it ─┐
//! LightGBM's text, XGBoost's JSON                                                 ─┴─▶ split.rs: tests as integers
//!     ─▶ flat.rs: the layout and the walk ─▶ forest.rs: totals ─▶ finish.rs: scores ─▶ program.rs: outputs, a backend
//! ```
//! A model that is not recognised is no error: ONNX Runtime runs it.

mod finish;
mod flat;
mod forest;
mod graph;
mod onnx;
mod program;
mod proto;
mod sample;
mod scalar;
mod split;
#[cfg(test)]
mod tests;

pub(super) use program::Program;

/// Reads an ONNX model that is a forest.
///
/// # Errors
/// Returns the reason why it is none, or none that is recognised.
pub(super) fn read(bytes: &[u8]) -> Result<Program, String> {
    graph::read(bytes)
}
