//! The file as it is written.

use std::time::Duration;

use serde::Deserialize;

/// The version of the format that is read here.
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecFile {
    pub(super) format: u32,
    /// The name of the model.
    #[expect(dead_code, reason = "the name that counts is that of model.json")]
    pub(super) model: String,
    pub(super) features: Vec<Feature>,
    /// Number of columns of the model's input.
    pub(super) width: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    #[expect(dead_code, reason = "for people")]
    pub(super) description: Option<String>,
    /// The name of the model's input.
    pub(super) input: Option<String>,
    /// The first column.
    pub(super) position: Option<usize>,
    pub(super) domain: Option<Domain>,
    #[serde(default)]
    pub(super) on_out_of_range: OnOutOfRange,
    #[serde(default)]
    pub(super) vocabulary: Vec<String>,
    #[serde(default)]
    pub(super) encode: Encode,
    #[serde(default)]
    pub(super) unknown: OnUnknown,
    pub(super) unknown_code: Option<f64>,
    pub(super) impute: Option<Impute>,
    /// The column that is 1 where the feature is missing, and 0 elsewhere.
    pub(super) indicator: Option<usize>,
    #[expect(dead_code, reason = "what is looked at over a window is not a rule for a record")]
    pub(super) presence: Option<Presence>,
    #[serde(default, with = "humantime_serde::option")]
    pub(super) max_age: Option<Duration>,
    #[expect(dead_code, reason = "what is looked at over a window is not a rule for a record")]
    pub(super) drift: Option<DriftRule>,
    /// Whether it is there only where the model is trained.
    #[serde(default)]
    pub(super) labels_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dtype {
    F32,
    F64,
    I64,
    Bool,
    Text,
}

/// What the model was trained for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Domain {
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) disallow_nan: bool,
    pub(super) disallow_inf: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnOutOfRange {
    #[default]
    Pass,
    /// The nearest end of the domain; a value that has none is missing.
    Clip,
    Missing,
    DeadLetter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encode {
    /// The index in the vocabulary.
    #[default]
    Ordinal,
    /// A column for each entry of the vocabulary, of which one is 1.
    OneHot,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnUnknown {
    /// `unknown_code`; with one column for each entry, all of them are 0.
    #[default]
    Code,
    Missing,
    DeadLetter,
}

/// What the model gets for a missing value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Impute {
    #[expect(dead_code, reason = "where the value came from, for people")]
    pub(super) strategy: String,
    /// A number, or a code; with one column for each entry the index of the one that is 1, or -1 for none.
    pub(super) value: f64,
}

/// How a feature is compared with the training data, as `drift` knows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DriftRule {
    #[expect(dead_code, reason = "as the field that has it")]
    pub(super) method: String,
    #[expect(dead_code, reason = "as the field that has it")]
    pub(super) threshold: Option<DriftThreshold>,
}

/// What a distance is compared with.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "threshold is neither a number nor \"learned\"")]
#[expect(dead_code, reason = "as the field that has it")]
pub(super) enum DriftThreshold {
    At(f64),
    Word(DriftWord),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DriftWord {
    Learned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presence {
    #[expect(dead_code, reason = "as the field that has it")]
    pub(super) min_fraction: Option<f64>,
}
