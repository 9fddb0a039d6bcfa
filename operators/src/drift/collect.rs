//! What was seen in a window: an aggregate, whose parts add up to the bit whatever their order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::categories::{Categories, Category};
use super::values::Distribution;
use crate::window::Aggregate;

/// Records of the sample that came together, of one version and in one window: their features in their order, and their
/// scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rows {
    pub(super) model: String,
    /// The part of the version that they are counted in first.
    pub(super) part: u32,
    /// Column by column; NaN where one is missing.
    pub(super) numbers: Vec<f64>,
    /// Column by column.
    pub(super) texts: Vec<Option<String>>,
    /// NaN for a record that the model did not score.
    pub(super) scores: Vec<f64>,
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
    pub(super) fn add(&mut self, rows: &Rows) {
        let Rows { model: _, part: _, numbers, texts, scores } = rows;
        let records = scores.len().max(1);
        self.records += scores.len() as u64;
        extend(&mut self.numbers, numbers.len() / records);
        extend(&mut self.texts, texts.len() / records);
        self.numbers.iter_mut().zip(numbers.chunks_exact(records)).for_each(|(column, values)| column.extend(values));
        // Which of them the training data had is known where they are compared.
        for (column, texts) in self.texts.iter_mut().zip(texts.chunks_exact(records)) {
            texts.iter().for_each(|text| column.add(text.as_deref().map(Category::Unknown)));
        }
        self.scores.extend(scores);
    }

    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        extend(&mut self.numbers, other.numbers.len());
        extend(&mut self.texts, other.texts.len());
        self.numbers.iter_mut().zip(&other.numbers).for_each(|(own, other)| own.merge(other));
        self.texts.iter_mut().zip(&other.texts).for_each(|(own, other)| own.merge(other));
        self.scores.merge(&other.scores);
    }

    pub(super) fn settle(&mut self) {
        self.numbers.iter_mut().for_each(Distribution::settle);
        self.scores.settle();
    }
}

fn extend<T: Default + Clone>(columns: &mut Vec<T>, len: usize) {
    columns.resize(columns.len().max(len), T::default());
}

/// Adds up the parts of a version. The columns are those of these features, in this order. What was seen is megabytes of
/// numbers, and most often there is one part: it is shared, and copied when another part is added to it.
pub(super) struct Count {
    features: String,
}

impl Count {
    pub(super) fn of(features: &[&str]) -> Self {
        Self { features: features.join(", ") }
    }
}

impl Aggregate for Count {
    type In = (String, Arc<Seen>);
    type Accumulator = Arc<Seen>;
    type Out = Arc<Seen>;

    fn parameters(&self) -> String {
        format!("features {}", self.features)
    }

    fn empty(&self) -> Arc<Seen> {
        Arc::default()
    }

    fn add(&self, seen: &mut Arc<Seen>, (_, part): &(String, Arc<Seen>)) {
        self.merge(seen, part);
    }

    fn merge(&self, into: &mut Arc<Seen>, other: &Arc<Seen>) {
        if into.records == 0 {
            *into = Arc::clone(other);
        } else {
            Arc::make_mut(into).merge(other);
        }
    }

    fn finish(&self, seen: &Arc<Seen>) -> Arc<Seen> {
        Arc::clone(seen)
    }
}
