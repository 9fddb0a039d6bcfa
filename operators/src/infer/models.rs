//! The models of an operator: versions that take turns in event time, and a fallback.

use std::sync::Arc;

use tidemill_engine::EventTime;

use super::backend::ModelSource;
use super::error::ModelError;
use super::takes::Takes;
use super::tensor::TensorSpec;
use super::versions::VersionSource;

/// The model of an operator and, optionally, later versions of it and the fallback model for records on which the model
/// fails.
#[derive(Clone)]
pub struct Models {
    first: Arc<dyn ModelSource>,
    /// The event time at which each later version takes over, in ascending order.
    switches: Vec<EventTime>,
    later: Vec<Arc<dyn ModelSource>>,
    fallback: Option<Arc<dyn ModelSource>>,
    source: Option<Arc<dyn VersionSource>>,
}

impl Models {
    /// Returns a model without a fallback.
    pub fn of(model: impl ModelSource + 'static) -> Self {
        Self { first: Arc::new(model), switches: Vec::new(), later: Vec::new(), fallback: None, source: None }
    }

    /// Sets `model` as the version for the records with an event time of `from` and later, up to the next switch. Which
    /// version scores a record depends on its event time alone, so it is the same one at any number of workers, after a
    /// crash and in a replay. No run of a model has records of two versions. All versions are loaded when the job
    /// starts; they must take the same inputs in the same order, and produce the same outputs.
    #[must_use]
    pub fn from_event_time(mut self, from: EventTime, model: impl ModelSource + 'static) -> Self {
        let at = self.switches.partition_point(|switch| *switch <= from);
        self.switches.insert(at, from);
        self.later.insert(at, Arc::new(model));
        self
    }

    /// Sets `fallback` as the model for the records on which their version fails. It must take the same inputs in the
    /// same order, and produce the same outputs.
    #[must_use]
    pub fn or(self, fallback: impl ModelSource + 'static) -> Self {
        Self { fallback: Some(Arc::new(fallback)), ..self }
    }

    /// Lets the operator be told to use other versions while the job runs, which it gets from `source`: as the primary
    /// one, as a canary for a share of the keys, or as a shadow. Each change takes effect with an epoch, or from an event
    /// time on, on all workers of all processes, and is in the checkpoints from then on.
    #[must_use]
    pub fn with_versions_of(self, source: impl VersionSource + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    pub(super) fn source(&self) -> Option<&Arc<dyn VersionSource>> {
        self.source.as_ref()
    }

    pub(super) fn first(&self) -> &Arc<dyn ModelSource> {
        &self.first
    }

    /// Returns all versions, in order of their event times.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<dyn ModelSource>> {
        std::iter::once(&self.first).chain(&self.later)
    }

    pub(super) fn switches(&self) -> &[EventTime] {
        &self.switches
    }

    pub(super) fn fallback(&self) -> Option<&Arc<dyn ModelSource>> {
        self.fallback.as_ref()
    }

    /// Checks that each version and the fallback can stand in for the first version.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        if let Some(twice) = self.switches.windows(2).find(|pair| pair[0] == pair[1]).and_then(|pair| pair.first()) {
            let reason = format!("two versions take over at the event time {twice}");
            return Err(ModelError::Unusable { model: self.first.info().to_string(), reason });
        }
        self.versions().chain(&self.fallback).try_for_each(|other| self.can_be(other))
    }

    /// Checks that a model can stand in for the first version.
    pub(super) fn can_be(&self, other: &Arc<dyn ModelSource>) -> Result<(), ModelError> {
        let same = |a: &[TensorSpec], b: &[TensorSpec]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.fits(b));
        let list = |specs: &[TensorSpec]| specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let shown = |m: &Arc<dyn ModelSource>| format!("{} to {}", list(m.inputs()), list(m.outputs()));
        let column = self.first.score_column();
        let (own, takes) = (Takes::of(&*self.first), Takes::of(&**other));
        if !(own.is_as(&takes) || own.are_features_for(&takes)) || !same(self.first.outputs(), other.outputs()) {
            return Err(ModelError::Schema {
                model: other.info().to_string(),
                found: shown(other),
                program: format!("{} (as the model it stands in for)", shown(&self.first)),
            });
        }
        if let Some(fallback) = self.fallback.as_ref().filter(|fallback| !takes.is_as(&Takes::of(&***fallback))) {
            let reason = format!(
                "its features.json makes other rows of the features than that of the fallback model {}, which takes over its rows",
                fallback.info()
            );
            return Err(ModelError::Unusable { model: other.info().to_string(), reason });
        }
        if other.score_column() != column {
            let reason = format!(
                "its score is in column {}, and that of the model it stands in for is in column {column}",
                other.score_column()
            );
            return Err(ModelError::Unusable { model: other.info().to_string(), reason });
        }
        Ok(())
    }
}

impl<M: ModelSource + Clone + 'static> From<&M> for Models {
    fn from(model: &M) -> Self {
        Self::of(model.clone())
    }
}

impl From<&Models> for Models {
    fn from(models: &Models) -> Self {
        models.clone()
    }
}
