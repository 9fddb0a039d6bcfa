//! What was seen in a window: an aggregate, whose parts add up to the bit whatever their order.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::categories::{Categories, Category};
use super::values::Distribution;
use crate::window::Aggregate;

/// A record of the sample: its features in their order, and its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sampled {
    pub(super) model: String,
    /// The part of the sample that it is counted in first.
    pub(super) shard: u8,
    /// The numbers; NaN where one is missing.
    pub(super) numbers: Vec<f64>,
    pub(super) texts: Vec<Option<String>>,
    /// NaN for a record that the model did not score.
    pub(super) score: f64,
}

/// What was seen of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) records: u64,
    pub(super) numbers: Vec<Distribution>,
    pub(super) texts: Vec<Categories>,
    pub(super) scores: Distribution,
}

impl Seen {
    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        extend(&mut self.numbers, other.numbers.len());
        extend(&mut self.texts, other.texts.len());
        self.numbers.iter_mut().zip(&other.numbers).for_each(|(own, other)| own.merge(other));
        self.texts.iter_mut().zip(&other.texts).for_each(|(own, other)| own.merge(other));
        self.scores.merge(&other.scores);
    }
}

fn extend<T: Default + Clone>(columns: &mut Vec<T>, len: usize) {
    columns.resize(columns.len().max(len), T::default());
}

/// What is counted of a window: records of the sample, or what was counted of them in parts.
pub(super) trait Counted: 'static {
    fn add_to(&self, seen: &mut Seen);
}

impl Counted for Sampled {
    fn add_to(&self, seen: &mut Seen) {
        seen.records += 1;
        extend(&mut seen.numbers, self.numbers.len());
        extend(&mut seen.texts, self.texts.len());
        seen.numbers.iter_mut().zip(&self.numbers).for_each(|(column, value)| column.add(Some(*value)));
        // Which of them the training data had is known where they are compared.
        for (column, value) in seen.texts.iter_mut().zip(&self.texts) {
            column.add(value.as_deref().map(Category::Unknown));
        }
        seen.scores.add(Some(self.score));
    }
}

impl Counted for (String, Seen) {
    fn add_to(&self, seen: &mut Seen) {
        seen.merge(&self.1);
    }
}

/// Adds up what is counted. The columns are those of these features, in this order.
pub(super) struct Count<T> {
    features: String,
    counted: PhantomData<fn(&T)>,
}

impl<T> Count<T> {
    pub(super) fn of(features: &[&str]) -> Self {
        Self { features: features.join(", "), counted: PhantomData }
    }
}

impl<T: Counted> Aggregate for Count<T> {
    type In = T;
    type Accumulator = Seen;
    type Out = Seen;

    fn parameters(&self) -> String {
        format!("features {}", self.features)
    }

    fn empty(&self) -> Seen {
        Seen::default()
    }

    fn add(&self, seen: &mut Seen, counted: &T) {
        counted.add_to(seen);
    }

    fn merge(&self, into: &mut Seen, other: &Seen) {
        into.merge(other);
    }

    fn finish(&self, seen: &Seen) -> Seen {
        seen.clone()
    }
}
