//! `features.json`, beside a model's file: how each feature of the program becomes columns of the model's input, and what
//! happens to values that the model was not trained for.
//!
//! ```text
//! format.rs: the file ─▶ check.rs: does it fit the program, and the model ─▶ rules.rs: a record's features, a row
//! ```

#![cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only models of files have rules"))]

#[cfg(feature = "onnx")]
mod check;
mod format;
mod rules;

/// The file with the rules.
#[cfg(feature = "onnx")]
pub(super) const FEATURES: &str = "features.json";

pub use self::rules::FeatureRules;
pub(in crate::infer) use self::rules::{OddCounts, OddTotals};
