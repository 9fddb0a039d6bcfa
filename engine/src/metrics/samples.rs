//! The samples of one answer of `/metrics`, by family, so that each family is written once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::family::Family;
use super::histogram::Counts;

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Counts(Counts),
}

/// The samples of all families, by name; those of a family are by the values of their labels.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Whether native histograms are wanted.
    pub(super) native: bool,
    pub(super) families: BTreeMap<&'static str, (&'static Family, BTreeMap<Vec<String>, Value>)>,
}

impl Samples {
    /// Makes an empty answer, with native histograms if they are wanted.
    pub(crate) fn new(native: bool) -> Self {
        Self { native, families: BTreeMap::new() }
    }

    /// Adds a number. Samples with the same labels add up.
    pub(crate) fn add(&mut self, family: &'static Family, labels: &[(&str, &str)], value: f64) {
        self.put(family, labels, Value::Number(value));
    }

    /// Adds a histogram.
    pub(super) fn add_counts(&mut self, family: &'static Family, labels: &[(&str, &str)], counts: Counts) {
        self.put(family, labels, Value::Counts(counts));
    }

    fn put(&mut self, family: &'static Family, labels: &[(&str, &str)], value: Value) {
        debug_assert!(labels.iter().map(|(name, _)| name).eq(family.labels), "{}: {labels:?}", family.name);
        let (_, samples) = self.families.entry(family.name).or_insert_with(|| (family, BTreeMap::new()));
        match samples.entry(labels.iter().map(|(_, value)| (*value).to_owned()).collect()) {
            Entry::Vacant(vacant) => drop(vacant.insert(value)),
            Entry::Occupied(mut occupied) => match (occupied.get_mut(), value) {
                (Value::Number(number), Value::Number(more)) => *number += more,
                (Value::Counts(counts), Value::Counts(more)) => counts.merge(&more),
                _ => debug_assert!(false, "{} has values of two kinds", family.name),
            },
        }
    }
}
