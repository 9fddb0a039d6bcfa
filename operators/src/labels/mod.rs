//! Labels that come later: what became of a record that was scored, and how well each version has scored.
//!
//! ```text
//! records ─┐ by key                 ┌─▶ labelled: each record once, with its label or without ─▶ quality
//! labels  ─┴─▶ join: wait at most ──┼─▶ late: records that came behind the watermark
//!                                   └─▶ unmatched: labels that no record waits for
//! quality: windows by version and role ─▶ log loss, ROC AUC, precision … ─▶ QualityReport
//!                                      └▶ the rollout of the operator that scored
//! ```

mod join;
mod judged;
mod quality;
mod report;
mod settings;

pub use join::{LabelLogic, Labelled, LabelsExt, LabelsOutput};
pub use quality::{QualityExt, QualityOutput};
pub use report::QualityReport;
pub use settings::QualitySettings;
