//! Drift: how far the values that a model sees now are from the values that it was trained on.
//!
//! ```text
//! scored records ─▶ DriftExt::drift: windows of each version against its Baseline ─▶ DriftReport ─▶ DriftAlert
//! feature ─▶ Distribution or Categories, per window ─┐
//! training data ─▶ the same, once ───────────────────┼─▶ DriftCheck ─▶ Comparison: value, threshold, drifted
//! chunks of it ─▶ each against the whole ─▶ Threshold┘
//!                                                     └─▶ MissingShare
//! scores ─▶ ExpectedQuality, per window ─▶ accuracy, precision, recall, ROC AUC before there are labels
//! losses ─▶ Detector: ADWIN, Page-Hinkley, KSWIN, DDM ─▶ Detection
//! ```
//! But for the operator, everything here is data and pure functions. What is collected per window does not depend on the order of the values
//! or on the parts in which they were collected, to the bit: a replay with another number of workers stores the same
//! bytes. Detectors depend on the order, as their inventors want it.
//!
//! Names, formulas and default thresholds are those of Evidently 0.7.23, and of river 0.26.1 for detectors.

mod baseline;
#[cfg(feature = "onnx")]
mod beside;
mod bins;
mod by_bucket;
mod by_value;
mod calibration;
mod categories;
mod collect;
mod compare;
mod distance;
mod distinct;
mod error;
mod estimate;
mod folded;
mod hash;
mod kolmogorov;
mod method;
mod missing;
mod moments;
mod online;
mod operator;
mod parts;
mod recent;
mod report;
mod sample;
mod settled;
mod shown;
mod smirnov;
mod sort;
mod special;
mod steps;
mod stored;
mod threshold;
mod values;
mod whole;

pub use baseline::{Baseline, Chunk, Reference};
pub use bins::Binning;
pub use calibration::Calibration;
pub use categories::{Categories, Category, Vocabulary};
pub use compare::{Comparison, DriftCheck, KolmogorovSmirnov};
pub use error::DriftError;
pub use estimate::ExpectedQuality;
pub use method::Method;
pub use missing::MissingShare;
pub use online::{
    Adwin, AdwinSettings, Ddm, DdmSettings, Detection, Detector, Direction, Kswin, KswinSettings, Level, PageHinkley,
    PageHinkleyMode, PageHinkleySettings,
};
pub use operator::{Baselines, DriftExt, DriftOutput, DriftSettings};
pub use report::{DriftAlert, DriftReport, SCORES, Verdict};
pub use threshold::Threshold;
pub use values::Distribution;

pub(crate) use bins::points_of_both;
pub(crate) use hash::of_record as hash_of_record;
