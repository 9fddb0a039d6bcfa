//! The values of one categorical feature in one window: counts by index in a vocabulary, and by name for other values.
//!
//! Of names that are not in the vocabulary, those with the smallest hashes are counted one by one, and the others
//! together. The names with the smallest hashes of a whole are among those of each part, so a count that is still there
//! has counted every record, and the result does not depend on the order or on the parts. Which names these are is
//! chance, not frequency.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash::of_name;

/// The names of the categories that the training data had, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Vocabulary {
    names: Vec<String>,
    indices: BTreeMap<String, usize>,
}

impl From<Vec<String>> for Vocabulary {
    /// Takes the names in their order. A name that comes twice has its first index.
    fn from(names: Vec<String>) -> Self {
        let indices = names.iter().enumerate().rev().map(|(index, name)| (name.clone(), index)).collect();
        Self { names, indices }
    }
}

impl From<Vocabulary> for Vec<String> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.names
    }
}

impl Vocabulary {
    /// Returns the category of a value.
    pub fn category<'a>(&self, name: &'a str) -> Category<'a> {
        self.indices.get(name).map_or(Category::Unknown(name), |index| Category::Known(*index))
    }

    /// Returns the name at an index.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str)
    }
}

/// A value of a categorical feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Category<'a> {
    /// The value at this index of the vocabulary. Indices are small: there is a counter for each smaller one.
    Known(usize),
    /// A value that is not in the vocabulary.
    Unknown(&'a str),
}

/// The distribution of one categorical feature in one window, or in the training data.
///
/// * Without a vocabulary, all values are `Unknown`, and up to `kept_names` of them are counted by name.
/// * Order: as for [`Distribution`](super::Distribution), equal contents are equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Categories {
    kept_names: usize,
    missing: u64,
    /// By index in the vocabulary. The last one is not zero.
    known: Vec<u64>,
    /// By hash and name.
    #[serde(with = "by_name")]
    unknown: BTreeMap<(u64, String), u64>,
    /// Records with a name that is not kept.
    other: u64,
}

impl Default for Categories {
    fn default() -> Self {
        Self::with_kept_names(Self::KEPT_NAMES)
    }
}

impl Categories {
    /// Number of names that are counted one by one by default.
    pub const KEPT_NAMES: usize = 256;

    /// Returns empty counts that keep up to so many names.
    pub fn with_kept_names(kept_names: usize) -> Self {
        Self { kept_names, missing: 0, known: Vec::new(), unknown: BTreeMap::new(), other: 0 }
    }

    /// Adds the value of a record; `None` is missing.
    pub fn add(&mut self, value: Option<Category<'_>>) {
        match value {
            None => self.missing += 1,
            Some(Category::Known(index)) => self.add_known(index, 1),
            Some(Category::Unknown(name)) => {
                let hash = of_name(name);
                // Nearly always it is there, the first with its hash, and nothing is allocated.
                match self.unknown.range_mut((hash, String::new())..).next() {
                    Some((known, count)) if known.0 == hash && known.1 == name => *count += 1,
                    _ => self.add_unknown((hash, name.to_owned()), 1),
                }
            }
        }
    }

    /// Adds all values of another part, which has the same vocabulary.
    pub fn merge(&mut self, other: &Self) {
        let Self { kept_names, missing, known, unknown, other } = other;
        self.kept_names = self.kept_names.min(*kept_names);
        self.missing += missing;
        self.other += other;
        known.iter().enumerate().for_each(|(index, count)| self.add_known(index, *count));
        unknown.iter().for_each(|(key, count)| self.add_unknown(key.clone(), *count));
        self.evict();
    }

    fn add_known(&mut self, index: usize, count: u64) {
        if count > 0 {
            self.known.resize(self.known.len().max(index + 1), 0);
            self.known[index] += count;
        }
    }

    fn add_unknown(&mut self, key: (u64, String), count: u64) {
        *self.unknown.entry(key).or_default() += count;
        self.evict();
    }

    fn evict(&mut self) {
        while self.unknown.len() > self.kept_names
            && let Some((_, count)) = self.unknown.pop_last()
        {
            self.other += count;
        }
    }

    /// Returns the number of records with a value.
    pub fn count(&self) -> u64 {
        self.known.iter().sum::<u64>() + self.unknown()
    }

    /// Returns the number of records without a value.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Returns the number of records with a value that is not in the vocabulary.
    pub fn unknown(&self) -> u64 {
        self.unknown.values().sum::<u64>() + self.other
    }

    /// Returns the most frequent ones of the names that are counted one by one, at most `limit`, with their counts: the
    /// most frequent first, and by name among equal ones. They are the most frequent ones of all if no names were left
    /// out.
    pub fn top_unknown(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut names: Vec<(&str, u64)> =
            self.unknown.iter().map(|((_, name), count)| (name.as_str(), *count)).collect();
        names.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        names.truncate(limit);
        names
    }

    /// Returns the last name that is counted one by one, if others are not: all names up to it are.
    pub(super) fn last_counted(&self) -> Option<&(u64, String)> {
        self.unknown.last_key_value().map(|(key, _)| key).filter(|_| self.other > 0)
    }

    /// Returns the counts by category, in one order for all that have the same vocabulary. Names after `last`, which
    /// another side has not counted one by one, are counted together.
    pub(super) fn counts(&self, last: Option<&(u64, String)>) -> BTreeMap<CategoryKey<'_>, u64> {
        let known = self.known.iter().enumerate().map(|(index, count)| (CategoryKey::Known(index), *count));
        let mut counts: BTreeMap<CategoryKey<'_>, u64> = known.collect();
        for (key, count) in &self.unknown {
            let is_counted = last.is_none_or(|last| key <= last);
            let key = if is_counted { CategoryKey::Unknown(&key.1) } else { CategoryKey::Other };
            *counts.entry(key).or_default() += count;
        }
        *counts.entry(CategoryKey::Other).or_default() += self.other;
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// Adds so many records with a name that is in no vocabulary, and so many without a value.
    pub(super) fn add_many(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.add_unknown((of_name(name), name.to_owned()), count);
        }
    }

    pub(super) fn add_missing(&mut self, count: u64) {
        self.missing += count;
    }
}

/// Stores names without their hashes, in the order of these.
mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::of_name;

    type Names = BTreeMap<(u64, String), u64>;

    pub(super) fn serialize<S: Serializer>(names: &Names, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(|((_, name), count)| (name, count)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        let names = Vec::<(String, u64)>::deserialize(deserializer)?;
        Ok(names.into_iter().map(|(name, count)| ((of_name(&name), name), count)).collect())
    }
}

/// What is counted for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CategoryKey<'a> {
    Known(usize),
    Unknown(&'a str),
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(kept_names: usize, vocabulary: &Vocabulary, values: &[Option<String>]) -> Categories {
        let mut categories = Categories::with_kept_names(kept_names);
        values.iter().for_each(|value| categories.add(value.as_deref().map(|name| vocabulary.category(name))));
        categories
    }

    proptest! {
        #[test]
        fn order_and_parts_leave_no_trace_in_the_bytes(
            (values, shuffled) in prop::collection::vec(prop::option::weighted(0.9, "[a-e][a-d]?"), 0..200)
                .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
            kept_names in 0..30usize,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
            parts_in_turn in any::<bool>(),
        ) {
            let vocabulary = Vocabulary::from(vec!["a".to_owned(), "bb".to_owned()]);
            let whole = of(kept_names, &vocabulary, &values);
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
            ends.sort_unstable();
            let part = |from: usize, to: usize| of(kept_names, &vocabulary, &shuffled[from..to]);
            let (mut a, mut b, c) = (part(0, ends[0]), part(ends[0], ends[1]), part(ends[1], values.len()));
            let merged = if parts_in_turn { a.merge(&b); a.merge(&c); a } else { b.merge(&c); b.merge(&a); b };
            prop_assert_eq!(&merged, &whole);
            let json = serde_json::to_string(&whole).unwrap();
            prop_assert_eq!(serde_json::to_string(&merged).unwrap(), json.clone());
            prop_assert_eq!(&serde_json::from_str::<Categories>(&json).unwrap(), &whole);
            let standard = bincode::config::standard();
            let bytes = |categories: &Categories| bincode::serde::encode_to_vec(categories, standard).unwrap();
            prop_assert_eq!(bytes(&merged), bytes(&whole));
            prop_assert_eq!(whole.count() + whole.missing(), values.len() as u64);
            for (name, count) in whole.top_unknown(usize::MAX) {
                prop_assert_eq!(count, values.iter().flatten().filter(|value| *value == name).count() as u64);
            }
        }
    }

    #[test]
    fn names_out_of_the_vocabulary_are_counted_by_name_and_together() {
        let vocabulary = Vocabulary::from(vec!["DE".to_owned(), "FR".to_owned()]);
        let values: Vec<Option<String>> =
            ["DE", "XX", "XX", "YY", "FR", "DE"].iter().map(|name| Some((*name).to_owned())).chain([None]).collect();
        let all = of(16, &vocabulary, &values);
        assert_eq!((all.count(), all.unknown(), all.missing()), (6, 3, 1));
        assert_eq!(all.top_unknown(1), [("XX", 2)]);
        assert_eq!(all.counts(None).values().copied().collect::<Vec<_>>(), [2, 1, 2, 1]);
        let none_kept = of(0, &vocabulary, &values);
        assert_eq!((none_kept.unknown(), none_kept.counts(None)[&CategoryKey::Other]), (3, 3));
        assert_eq!(vocabulary.name(1), Some("FR"));
    }
}
