//! What a model was trained on: the values of each feature, and the scores, as `baseline.json` beside the model has them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::categories::Categories;
use super::compare::DriftCheck;
use super::values::Distribution;

/// The version of the format that is read here.
const FORMAT: u32 = 1;
/// Number of different values of a feature that are kept.
const EXACT_VALUES: usize = 100_000;

/// What windows are compared with: the values of each feature in the training data, and the scores that the model gave
/// there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The features, by name.
    pub features: BTreeMap<String, Reference>,
    /// The scores.
    pub scores: Option<Distribution>,
    /// How a feature is compared, where that is said; by name.
    pub checks: BTreeMap<String, DriftCheck>,
    /// Least share of records that have a value, where that is said; by name. Less is drift.
    pub presence: BTreeMap<String, f64>,
    /// The training data once more, cut into parts in the order of time. Thresholds are learned from it.
    pub chunks: Vec<Chunk>,
}

/// A part of the training data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The features, by name.
    pub features: BTreeMap<String, Reference>,
    /// The scores.
    pub scores: Option<Distribution>,
}

/// The values of a feature in the training data.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// Numbers.
    Numbers(Distribution),
    /// Categories, by name.
    Categories(Categories),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    #[serde(rename = "rows")]
    _rows: Option<u64>,
    features: BTreeMap<String, Column>,
    scores: Option<Column>,
    #[serde(default)]
    chunks: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(rename = "rows")]
    _rows: Option<u64>,
    features: BTreeMap<String, Column>,
    scores: Option<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    /// Number of values, of which `values` may be a sample.
    count: u64,
    missing: u64,
    #[serde(default)]
    infinite: u64,
    #[serde(default)]
    values: Vec<f64>,
    categories: Option<BTreeMap<String, u64>>,
    #[serde(default, rename = "sampled")]
    _sampled: bool,
}

impl Baseline {
    /// Reads a `baseline.json`, as the Python package writes it.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
        if file.format != FORMAT {
            return Err(format!("it is of format {}, and this version of the engine reads {FORMAT}", file.format));
        }
        if !file.chunks.is_empty() {
            add_up(&file)?;
        }
        let of_chunk = |(at, Part { features, scores, _rows })| {
            let whole = whole(features, scores).map_err(|reason| format!("chunk {at}: {reason}"))?;
            Ok(Chunk { features: whole.0, scores: whole.1 })
        };
        let chunks = file.chunks.into_iter().enumerate().map(of_chunk).collect::<Result<_, String>>()?;
        let (features, scores) = whole(file.features, file.scores)?;
        Ok(Self { features, scores, chunks, ..Self::default() })
    }
}

impl Chunk {
    /// Returns a feature that has numbers.
    pub(super) fn numbers(&self, name: &str) -> Option<&Distribution> {
        match self.features.get(name)? {
            Reference::Numbers(numbers) => Some(numbers),
            Reference::Categories(_) => None,
        }
    }

    /// Returns a feature that has categories.
    pub(super) fn categories(&self, name: &str) -> Option<&Categories> {
        match self.features.get(name)? {
            Reference::Numbers(_) => None,
            Reference::Categories(categories) => Some(categories),
        }
    }
}

type Whole = (BTreeMap<String, Reference>, Option<Distribution>);

fn whole(features: BTreeMap<String, Column>, scores: Option<Column>) -> Result<Whole, String> {
    let reference = |(name, column): (String, Column)| {
        let reference = match column.categories {
            None => Reference::Numbers(column.numbers().map_err(|reason| format!("{name}: {reason}"))?),
            Some(counts) => categories(&counts, column.missing),
        };
        Ok((name, reference))
    };
    let features = features.into_iter().map(reference).collect::<Result<_, String>>()?;
    let scores = scores.map(|column| column.numbers().map_err(|reason| format!("scores: {reason}")));
    Ok((features, scores.transpose()?))
}

/// Checks that the chunks are the whole, cut into parts.
fn add_up(file: &File) -> Result<(), String> {
    let File { features, scores, chunks, .. } = file;
    for (name, column) in features {
        column
            .is_sum_of(chunks.iter().map(|chunk| chunk.features.get(name)))
            .map_err(|why| format!("{name}: {why}"))?;
    }
    if let Some(column) = scores {
        column.is_sum_of(chunks.iter().map(|chunk| chunk.scores.as_ref())).map_err(|why| format!("scores: {why}"))?;
    }
    let has_more = |chunk: &Part| chunk.features.len() > features.len() || chunk.scores.is_some() != scores.is_some();
    match chunks.iter().position(has_more) {
        Some(at) => Err(format!("chunk {at}: it has something that the whole does not have")),
        None => Ok(()),
    }
}

impl Column {
    fn is_sum_of<'a>(&self, parts: impl Iterator<Item = Option<&'a Self>>) -> Result<(), String> {
        let mut sums = [0u64; 3];
        for (at, part) in parts.enumerate() {
            let part = part.ok_or_else(|| format!("chunk {at} has nothing of it"))?;
            if part.categories.is_some() != self.categories.is_some() {
                return Err(format!("it has numbers in one place and categories in another: chunk {at}, or the whole"));
            }
            for (sum, count) in sums.iter_mut().zip([part.count, part.missing, part.infinite]) {
                *sum = sum.saturating_add(count);
            }
        }
        let [count, missing, infinite] = sums;
        if sums == [self.count, self.missing, self.infinite] {
            return Ok(());
        }
        Err(format!(
            "it states {} values, {} missing and {} infinite ones, and its chunks have {count}, {missing} and {infinite}",
            self.count, self.missing, self.infinite
        ))
    }

    fn numbers(self) -> Result<Distribution, String> {
        let Self { count, missing, infinite, values, .. } = self;
        let kept = values.len() as u64;
        if kept > count || (kept == 0) != (count == 0) {
            return Err(format!("it has {kept} values, and states {count}"));
        }
        let mut numbers = Distribution::of(values, EXACT_VALUES);
        // Of a sample as many are missing, in proportion.
        let of_sample =
            |part: u64| if kept == count { part } else { (part as f64 * kept as f64 / count as f64).round() as u64 };
        numbers.missing += of_sample(missing);
        numbers.infinite += of_sample(infinite);
        Ok(numbers)
    }
}

fn categories(counts: &BTreeMap<String, u64>, missing: u64) -> Reference {
    let mut all = Categories::default();
    counts.iter().for_each(|(name, count)| all.add_many(name, *count));
    all.add_missing(missing);
    Reference::Categories(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_read_as_the_package_writes_it() {
        let text = r#"{"format": 1, "model": "fraud", "rows": 8, "features": {
            "amount": {"count": 6, "missing": 2, "infinite": 0, "values": [1, 2.5, 3], "sampled": true},
            "country": {"count": 7, "missing": 1, "infinite": 0, "categories": {"DE": 5, "FR": 2}}},
            "scores": {"count": 2, "missing": 0, "infinite": 0, "values": [0.25, 0.5]}}"#;
        let Baseline { features, scores, chunks, .. } = Baseline::read(text.as_bytes()).unwrap();
        assert!(chunks.is_empty());
        let Reference::Numbers(amount) = &features["amount"] else { panic!("it is of numbers") };
        assert_eq!((amount.count(), amount.missing(), amount.range()), (3, 1, Some((1.0, 3.0))), "half of it");
        let Reference::Categories(counts) = &features["country"] else { panic!("it is of categories") };
        assert_eq!((counts.top_unknown(1), counts.count(), counts.missing()), (vec![("DE", 5)], 7, 1));
        assert_eq!(scores.unwrap().mean(), Some(0.375));
        for (wrong, why) in [
            (text.replace("\"format\": 1", "\"format\": 3"), "format 3, and this version of the engine reads 1"),
            (text.replace("\"count\": 6", "\"count\": 2"), "amount: it has 3 values, and states 2"),
            (text.replace("[0.25, 0.5]", "[]"), "scores: it has 0 values, and states 2"),
            (text.replace("\"missing\": 2", "\"missing\": -2"), "it cannot be read: "),
            (text.replace("\"rows\": 8", "\"chunk\": []"), "unknown field `chunk`"),
        ] {
            let error = Baseline::read(wrong.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn chunks_are_the_whole_cut_into_parts() {
        let numbers = |values: &str, count: u32, missing: u32| {
            format!(r#"{{"count": {count}, "missing": {missing}, "infinite": 0, "values": [{values}]}}"#)
        };
        let part = |amount: &str, country: u32, scores: &str| {
            format!(
                r#"{{"rows": 2, "features": {{"amount": {amount}, "country": {{"count": {country}, "missing": 0, "categories":
                {{"DE": {country}}}}}}}, "scores": {scores}}}"#
            )
        };
        let chunks = [
            part(&numbers("1", 1, 1), 2, &numbers("0.25", 1, 0)),
            part(&numbers("3, 2", 2, 0), 1, &numbers("0.5", 1, 0)),
        ];
        let text = format!(
            r#"{{"format": 1, "features": {{"amount": {}, "country": {{"count": 3, "missing": 0, "categories": {{"DE": 3}}}}}},
            "scores": {}, "chunks": [{}]}}"#,
            numbers("1, 2, 3", 3, 1),
            numbers("0.25, 0.5", 2, 0),
            chunks.join(", ")
        );
        let baseline = Baseline::read(text.as_bytes()).unwrap();
        let [first, second] = &*baseline.chunks else { panic!("there are two") };
        let Reference::Numbers(amount) = &first.features["amount"] else { panic!("it is of numbers") };
        assert_eq!((amount.count(), amount.missing()), (1, 1));
        let Reference::Numbers(amount) = &second.features["amount"] else { panic!("it is of numbers") };
        assert_eq!(amount.range(), Some((2.0, 3.0)));
        assert_eq!(second.scores.as_ref().and_then(Distribution::mean), Some(0.5));
        for (wrong, why) in [
            (text.replace("[1]", "[1, 1, 1]"), "chunk 0: amount: it has 3 values, and states 1"),
            (text.replace(r#"{"DE": 1}"#, r#"{"DE": -1}"#), "it cannot be read: "),
            (
                text.replace(r#""count": 1, "missing": 1"#, r#""count": 1, "missing": 2"#),
                "amount: it states 3 values, 1 missing and 0 infinite ones, and its chunks have 3, 2 and 0",
            ),
            (
                text.replacen(r#""rows": 2, "features": {"amount""#, r#""features": {"sum""#, 1),
                "amount: chunk 0 has nothing of it",
            ),
            (
                text.replace(r#""rows": 2, "features": {"#, r#""features": {"a": {"count": 0, "missing": 0}, "#),
                "that the whole does not have",
            ),
            (text.replacen(r#""rows": 2"#, r#""from": 2"#, 1), "unknown field `from`"),
            (
                text.replacen(
                    r#""categories":
                {"DE": 2}"#,
                    r#""values": [1, 1]"#,
                    1,
                ),
                "country: it has numbers in one place and categories in another: chunk 0",
            ),
        ] {
            let error = Baseline::read(wrong.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
