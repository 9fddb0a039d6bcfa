//! A batch in progress: the rows of its records, and the result for each record.

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::Epoch;

use super::codec::{Codec, InputRow, OutputRow};
use super::live::route::{Assigned, Route};
use super::spec::{OddCounts, OddTotals};
use super::takes::Takes;
use super::tensor::{Tensor, TensorSpec};

/// The result for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The result is not known yet.
    Open,
    /// The record is scored: its score is in a row of the outputs of a run.
    Scored { by_fallback: bool, part: usize, row: usize },
    /// The record failed; the index of its reason in [`Work::failures`].
    Failed(usize),
}

/// Records of one version of the model, whose rows have the same shape.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The index of the version.
    pub(super) version: usize,
    /// What the version takes.
    pub(super) takes: Arc<Takes>,
    pub(super) inputs: Vec<Tensor>,
    /// The index in the batch of each row's record.
    pub(super) records: Vec<usize>,
}

/// Rows of the records of a batch for a version that does not score them.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) inputs: Vec<Tensor>,
    /// The index in the batch of each row's record.
    pub(super) records: Vec<usize>,
    /// The records that have no row, because its rules refuse them.
    pub(super) refused: Vec<usize>,
}

/// The buffers of one batch. They are reused, so that records cause no allocations.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) len: usize,
    /// The groups, of which the first `used` belong to this batch.
    groups: Vec<Group>,
    used: usize,
    /// The outputs of each successful run. The buffers of the first one are kept for the next batch.
    pub(super) parts: Vec<Vec<Tensor>>,
    /// How long each of these runs took.
    pub(super) took: Vec<Duration>,
    /// The result of each record. It is empty when the model scored all of them, as rows of the first part, in order.
    pub(super) places: Vec<Place>,
    pub(super) failures: Vec<String>,
    /// The reason not to run the model: an earlier run of it with this batch did not return.
    pub(super) given_up: Option<String>,
    /// Whether there are records that could not be encoded.
    pub(super) has_faults: bool,
    deferred: Vec<usize>,
    /// Whether the shadow gets the rows of this batch.
    pub(super) for_shadow: bool,
    /// The rows for the shadow, if it takes others than the version that scores.
    pub(super) beside: Option<Beside>,
    /// Which version scores which record.
    pub(super) route: Option<Arc<Route>>,
    pub(super) epoch: Epoch,
    /// The version of each record; empty where the route has one for all.
    pub(super) assigned: Vec<Assigned>,
    /// How many features were odd in all rows that were written, also for a shadow.
    pub(super) odd: OddTotals,
    odd_counts: OddCounts,
}

impl Work {
    /// Returns the version of a record.
    pub(super) fn assigned(&self, record: usize) -> Assigned {
        let only = || self.route.as_ref().and_then(|route| route.only());
        self.assigned.get(record).copied().or_else(only).unwrap_or_default()
    }

    /// Returns the groups of this batch.
    pub(super) fn groups(&self) -> &[Group] {
        self.groups.get(..self.used).unwrap_or_default()
    }

    /// Writes the rows of the records, each for the version that it is assigned to; `first` is what a version takes that the
    /// route does not name.
    pub(super) fn encode<'r, D: 'r, C: Codec<D>>(
        &mut self,
        codec: &C,
        first: &Arc<Takes>,
        len: usize,
        record: impl Fn(usize) -> &'r D,
    ) {
        self.len = len;
        self.used = 0;
        self.places.clear();
        self.failures.clear();
        self.given_up = None;
        self.has_faults = false;
        self.deferred.clear();
        self.beside = None;
        self.odd = OddTotals::default();
        let assigned = std::mem::take(&mut self.assigned);
        let only = self.assigned(0).version;
        let record = |at: usize| (record(at), assigned.get(at).map_or(only, |assigned| assigned.version));
        self.encode_group(codec, first, 0..len, &record);
        while !self.deferred.is_empty() {
            let rest = std::mem::take(&mut self.deferred);
            self.encode_group(codec, first, rest.iter().copied(), &record);
        }
        self.assigned = assigned;
    }

    /// Writes the rows that have the version and the shape of the first one, and defers the others.
    fn encode_group<'r, D: 'r, C: Codec<D>>(
        &mut self,
        codec: &C,
        first: &Arc<Takes>,
        records: impl Iterator<Item = usize>,
        record: &impl Fn(usize) -> (&'r D, usize),
    ) {
        let mut records = records.peekable();
        let Some(version) = records.peek().map(|index| record(*index).1) else { return };
        let takes = self.route.as_ref().and_then(|route| route.takes(version)).unwrap_or(first);
        if self.groups.len() == self.used {
            self.groups.push(Group::default());
        }
        let Some(group) = self.groups.get_mut(self.used) else { return };
        if !Arc::ptr_eq(&group.takes, takes) {
            if group.inputs.is_empty() || !group.takes.is_as(takes) {
                group.inputs = takes.inputs.iter().map(Tensor::empty).collect();
            }
            group.takes = Arc::clone(takes);
        }
        group.version = version;
        group.records.clear();
        let specs = &takes.inputs[..];
        for (spec, input) in specs.iter().zip(&mut group.inputs) {
            input.clear();
            if spec.shape.iter().filter(|size| size.is_none()).count() > 1 {
                // The program has to set the shape again.
                input.shape.fill(0);
            }
        }
        for index in records {
            let (record, version) = record(index);
            let rows = group.records.len();
            if version != group.version {
                self.deferred.push(index);
                continue;
            }
            let (rules, odd) = (takes.rules.as_deref(), &mut self.odd_counts);
            let inputs = &mut group.inputs;
            let mut row = InputRow { specs, inputs, rows, other_shape: false, fault: None, rules, odd };
            codec.encode(record, &mut row);
            let InputRow { other_shape, mut fault, .. } = row;
            let incomplete = |(spec, input): (&TensorSpec, &Tensor)| !spec.holds(rows + 1, input);
            if fault.is_none() && !other_shape && specs.iter().zip(&group.inputs).any(incomplete) {
                fault = Some("the program's features do not fit: it does not fill each input once".to_owned());
            }
            if fault.is_none() && !other_shape {
                group.records.push(index);
                continue;
            }
            cut(&mut group.inputs, rows);
            if let Some(fault) = fault {
                self.has_faults = true;
                self.failures.push(fault);
                self.places.resize(self.len, Place::Open);
                if let Some(place) = self.places.get_mut(index) {
                    *place = Place::Failed(self.failures.len() - 1);
                }
            } else {
                self.deferred.push(index);
            }
        }
        takes.rules.iter().for_each(|rules| self.odd += rules.add(&mut self.odd_counts));
        self.used += usize::from(!group.records.is_empty());
    }

    /// Writes the rows of the records for a version that only looks on.
    pub(super) fn encode_beside<'r, D: 'r, C: Codec<D>>(
        &mut self,
        codec: &C,
        takes: &Takes,
        len: usize,
        record: impl Fn(usize) -> &'r D,
    ) {
        let specs = &takes.inputs[..];
        let inputs = specs.iter().map(Tensor::empty).collect();
        let mut beside = Beside { inputs, records: Vec::with_capacity(len), refused: Vec::new() };
        for index in 0..len {
            let (rows, rules, odd) = (beside.records.len(), takes.rules.as_deref(), &mut self.odd_counts);
            let inputs = &mut beside.inputs;
            let mut row = InputRow { specs, inputs, rows, other_shape: false, fault: None, rules, odd };
            codec.encode(record(index), &mut row);
            let InputRow { fault, other_shape, .. } = row;
            if fault.is_none() && !other_shape {
                beside.records.push(index);
                continue;
            }
            cut(&mut beside.inputs, rows);
            if !other_shape {
                beside.refused.push(index);
            }
        }
        takes.rules.iter().for_each(|rules| self.odd += rules.add(&mut self.odd_counts));
        self.beside = Some(beside);
    }

    /// Gives up a batch with which the model did not return: nothing of it is scored, and the model is not run again.
    pub(super) fn give_up(&mut self, reason: String) {
        self.places.resize(self.len, Place::Open);
        self.failures.push(reason.clone());
        let failure = Place::Failed(self.failures.len() - 1);
        self.places.iter_mut().filter(|place| **place == Place::Open).for_each(|place| *place = failure);
        self.given_up = Some(reason);
    }

    /// Returns whether the batch is a single group of all its records.
    pub(super) fn is_plain(&self) -> bool {
        self.used == 1 && !self.has_faults && self.given_up.is_none()
    }

    /// Returns the result of a record.
    pub(super) fn place(&self, record: usize) -> Place {
        let all_scored = Place::Scored { by_fallback: false, part: 0, row: record };
        if self.places.is_empty() { all_scored } else { self.places.get(record).copied().unwrap_or(Place::Open) }
    }

    /// Returns a row of the outputs of a run.
    pub(super) fn output(&self, part: usize, row: usize) -> OutputRow<'_> {
        OutputRow { outputs: self.parts.get(part).map_or(&[], Vec::as_slice), row }
    }

    /// Returns how long a run took.
    pub(super) fn took(&self, part: usize) -> Duration {
        self.took.get(part).copied().unwrap_or_default()
    }

    /// Formats the features of a record for people to read, as they are given to the model: `amount=3.5, is_night=0`.
    pub(super) fn features(&self, record: usize, columns: &[&str]) -> String {
        let found =
            self.groups().iter().find_map(|group| group.records.binary_search(&record).ok().map(|row| (group, row)));
        let Some((group, row)) = found else { return String::new() };
        let named: Vec<&str> = match &group.takes.rules {
            Some(rules) => rules.columns().iter().map(String::as_str).collect(),
            None => columns.to_vec(),
        };
        let mut cells = Vec::new();
        for (at, (spec, input)) in group.takes.inputs.iter().zip(&group.inputs).enumerate() {
            if at == 0 && named.len() == input.row_len() {
                cells.extend(named.iter().enumerate().map(|(c, name)| format!("{name}={}", input.shown_cell(row, c))));
            } else {
                cells.push(format!("{}={}", spec.name, input.shown_row(row)));
            }
        }
        cells.join(", ")
    }
}

/// Drops what was written after the first `rows` rows.
fn cut(inputs: &mut [Tensor], rows: usize) {
    for input in inputs {
        let len = rows * input.row_len();
        input.elements.truncate(len);
    }
}
