//! What is counted of records whose label is known: an aggregate, whose parts add up to the bit whatever their order.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use crate::drift::Distribution;
use crate::infer::ModelRole;
use crate::ranked::{log_loss, spread};
use crate::sum::ExactSum;
use crate::window::Aggregate;

/// A version in its part of scoring.
pub(super) type Judged = (String, ModelRole);

/// A record of which it is known what became of it, or that nothing will be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Judgement {
    pub(super) of: Judged,
    /// The part that it is counted in first.
    pub(super) shard: u8,
    /// NaN for a record that the model did not score.
    pub(super) score: f64,
    /// The event time of the record.
    pub(super) at: EventTime,
    pub(super) truth: Option<bool>,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Scores of positive and negative records, spread: only their order matters.
    pub(super) positives: Distribution,
    pub(super) negatives: Distribution,
    /// Records without a truth, and those with one that have no score.
    pub(super) unknown: u64,
    pub(super) without_score: u64,
    /// Scores that are no probabilities.
    pub(super) beyond: u64,
    pub(super) losses: ExactSum,
    /// Records with a score above the threshold, and positive ones among them.
    pub(super) alerts: u64,
    pub(super) found: u64,
    /// Milliseconds from the records to their truth, in all.
    pub(super) waited_ms: u64,
}

impl Counts {
    /// Returns the number of records with a score and a truth.
    pub(super) fn records(&self) -> u64 {
        self.positives.count() + self.negatives.count()
    }

    fn merge(&mut self, other: &Self) {
        let Self { positives, negatives, unknown, without_score, beyond, losses, alerts, found, waited_ms } = other;
        self.positives.merge(positives);
        self.negatives.merge(negatives);
        self.losses.merge(losses);
        self.unknown += unknown;
        self.without_score += without_score;
        self.beyond += beyond;
        self.alerts += alerts;
        self.found += found;
        self.waited_ms += waited_ms;
    }
}

/// What is counted of a window: records, or what was counted of them in parts.
pub(super) trait Counted: 'static {
    fn add_to(&self, counts: &mut Counts, threshold: f64);
}

/// A judgement, and when it was known.
impl Counted for (Judgement, EventTime) {
    fn add_to(&self, counts: &mut Counts, threshold: f64) {
        let (Judgement { score, at, truth, .. }, known_at) = self;
        let Some(truth) = *truth else {
            counts.unknown += 1;
            return;
        };
        if !score.is_finite() {
            counts.without_score += 1;
            return;
        }
        if truth { &mut counts.positives } else { &mut counts.negatives }.add(Some(spread(*score)));
        counts.beyond += u64::from(!(0.0..=1.0).contains(score));
        counts.losses.add(log_loss(*score, truth));
        counts.alerts += u64::from(*score > threshold);
        counts.found += u64::from(*score > threshold && truth);
        counts.waited_ms += u64::try_from(known_at.0.saturating_sub(at.0)).unwrap_or(0);
    }
}

impl Counted for (Judged, Counts) {
    fn add_to(&self, counts: &mut Counts, _: f64) {
        counts.merge(&self.1);
    }
}

/// Adds up what is counted.
pub(super) struct Count<T> {
    threshold: f64,
    counted: PhantomData<fn(&T)>,
}

impl<T> Count<T> {
    pub(super) fn above(threshold: f64) -> Self {
        Self { threshold, counted: PhantomData }
    }
}

impl<T: Counted> Aggregate for Count<T> {
    type In = T;
    type Accumulator = Counts;
    type Out = Counts;

    fn parameters(&self) -> String {
        format!("threshold {}", self.threshold)
    }

    fn empty(&self) -> Counts {
        Counts::default()
    }

    fn add(&self, counts: &mut Counts, counted: &T) {
        counted.add_to(counts, self.threshold);
    }

    fn merge(&self, into: &mut Counts, other: &Counts) {
        into.merge(other);
    }

    fn finish(&self, counts: &Counts) -> Counts {
        counts.clone()
    }
}
