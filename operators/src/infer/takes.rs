//! What a model takes of a record.

use std::sync::Arc;

use super::backend::ModelSource;
use super::spec::FeatureRules;
use super::tensor::TensorSpec;

/// The inputs of a model, and the rules by which the program's features become a row of the first one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Takes {
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) rules: Option<Arc<FeatureRules>>,
}

impl Takes {
    pub(super) fn of(model: &dyn ModelSource) -> Self {
        Self { inputs: model.inputs().to_vec(), rules: model.rules().cloned() }
    }

    /// Returns whether rows for this model can be those for another one.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let fit = self.inputs.iter().zip(&other.inputs).all(|(a, b)| a.fits(b));
        self.inputs.len() == other.inputs.len() && fit && self.rules == other.rules
    }

    /// Returns whether both take features by name, so that each can get them in its own way.
    pub(super) fn are_features_for(&self, other: &Self) -> bool {
        let width = |takes: &Self| match &takes.inputs[..] {
            [TensorSpec { shape, .. }] if shape.len() == 1 => shape[0],
            _ => None,
        };
        match (&self.rules, &other.rules) {
            (Some(one), Some(other)) => one.features() == other.features(),
            (Some(one), None) => width(other) == Some(one.features()),
            (None, Some(one)) => width(self) == Some(one.features()),
            (None, None) => false,
        }
    }
}
