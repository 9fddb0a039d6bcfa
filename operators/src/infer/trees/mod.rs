//! Forests: models that are ensembles of trees, walked by code of our own.
//!
//! ```text
//! an ONNX file ─▶ proto.rs ─▶ onnx.rs: an ensemble ─▶ graph.rs: what surrounds it ─┐
//! LightGBM's text, XGBoost's JSON ─▶ lightgbm.rs, xgboost.rs                      ─┴─▶ split.rs: tests as integers
//!     ─▶ flat.rs, walk.rs: layout and walk ─▶ forest.rs: totals ─▶ finish.rs: scores ─▶ program.rs: outputs, a backend
//! ```
//! An ONNX model that is not recognised is no error: ONNX Runtime runs it.

mod finish;
mod flat;
mod forest;
mod graph;
mod known;
mod lightgbm;
mod onnx;
mod program;
mod proto;
mod sample;
mod scalar;
mod split;
#[cfg(test)]
mod tests;
mod walk;
mod xgboost;

pub(super) use program::{FEATURES_SHA256, Program, split_names};

/// Returns whether a file is in a format of XGBoost or LightGBM, which ONNX Runtime does not read.
pub(super) fn is_of_library(bytes: &[u8]) -> bool {
    is_lightgbm(bytes) || is_json(bytes)
}

/// No field of an ONNX file begins with this byte.
fn is_lightgbm(bytes: &[u8]) -> bool {
    bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n")
}

fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Reads a model that is a forest.
///
/// # Errors
/// Returns the reason why it is none, or none that is recognised.
pub(super) fn read(bytes: &[u8]) -> Result<Program, String> {
    if is_lightgbm(bytes) {
        let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        return lightgbm::read(text);
    }
    if is_json(bytes) { xgboost::read(bytes) } else { graph::read(bytes) }
}
