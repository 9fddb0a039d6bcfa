//! Where the labels of the records of an operator are told.

use std::fmt::Display;
use std::sync::Arc;

use tidemill_engine::{EventTime, Flow};

use super::{Live, ModelRole};
use crate::infer::backend::ModelInfo;

/// Where labels of the records of an operator are told.
pub(crate) struct Labels(Arc<Live>);

impl Labels {
    /// Finds the operator.
    ///
    /// # Errors
    /// When there is none of this name whose versions can change.
    pub(crate) fn of(flow: &Flow<'_>, operator: &str) -> Result<Self, impl Display + use<>> {
        let found = flow.find_controlled::<Live>(operator);
        found.map(Self).ok_or_else(|| {
            format!("rollout names \"{operator}\", which is no operator before it whose versions can change")
        })
    }

    /// Tells what became of a record with this event time.
    pub(crate) fn judged(&self, model: &ModelInfo, role: ModelRole, at: EventTime, score: f64, truth: bool) {
        if role != ModelRole::Primary && score.is_finite() {
            self.0.labelled(model, role, at, score, truth);
        }
    }
}
