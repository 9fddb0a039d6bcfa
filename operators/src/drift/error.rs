//! What may be wrong with a comparison or its settings.

use super::Method;

/// Why drift could not be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DriftError {
    /// One of the two sides has no values. That is no drift, and no absence of drift.
    #[error("the {side} has no values: nothing can be compared")]
    Empty {
        /// "reference" or "window".
        side: &'static str,
    },
    /// The method needs numbers.
    #[error("{method:?} needs numbers: compare categories by psi, jensen_shannon, hellinger or chi_square")]
    NeedsNumbers {
        /// The method that was asked for.
        method: Method,
    },
    /// There is nothing to learn a threshold from.
    #[error(
        "the training data has values in {chunks} chunks, and a learned threshold needs at least 2: export the model \
         again, with chunks, or set a number"
    )]
    FewChunks {
        /// Number of chunks that have values.
        chunks: usize,
    },
    /// No threshold is learned for the method.
    #[error(
        "{method:?} gives a p-value, which allows for the number of values already, so no threshold is learned for it: \
         compare by a distance, as psi, jensen_shannon or kolmogorov_smirnov (whose distance is compared then)"
    )]
    NotLearned {
        /// The method that was asked for.
        method: Method,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}, but must be {range}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What it was set to.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A stored distribution contradicts itself. It was damaged, or edited by hand.
    #[error("a stored distribution is damaged: {what}; write the baseline again")]
    Damaged {
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is nothing to calibrate with.
    #[error("a calibration needs records with scores and labels of both kinds")]
    NothingToCalibrate,
}

/// Returns the value of a setting if it is in its range.
pub(super) fn in_range(
    setting: &'static str,
    value: f64,
    is_valid: bool,
    range: &'static str,
) -> Result<(), DriftError> {
    if is_valid { Ok(()) } else { Err(DriftError::Setting { setting, value, range }) }
}
