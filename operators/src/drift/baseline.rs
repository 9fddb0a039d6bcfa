//! What a model was trained on: the values of each feature, and the scores, as `baseline.json` beside the model has them.

use std::collections::BTreeMap;

use serde::Deserialize;

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
struct File {
    format: u32,
    features: BTreeMap<String, Column>,
    scores: Option<Column>,
}

#[derive(Deserialize)]
struct Column {
    /// Number of values, of which `values` may be a sample.
    count: u64,
    missing: u64,
    #[serde(default)]
    infinite: u64,
    #[serde(default)]
    values: Vec<f64>,
    categories: Option<BTreeMap<String, u64>>,
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
        let reference = |(name, column): (String, Column)| {
            let reference = match column.categories {
                None => Reference::Numbers(column.numbers().map_err(|reason| format!("{name}: {reason}"))?),
                Some(counts) => categories(&counts, column.missing),
            };
            Ok((name, reference))
        };
        let features = file.features.into_iter().map(reference).collect::<Result<_, String>>()?;
        let scores = file.scores.map(|column| column.numbers().map_err(|reason| format!("scores: {reason}")));
        Ok(Self { features, scores: scores.transpose()?, checks: BTreeMap::new() })
    }
}

impl Column {
    fn numbers(&self) -> Result<Distribution, String> {
        let Self { count, missing, infinite, values, .. } = self;
        let kept = values.len() as u64;
        if kept > *count || (kept == 0) != (*count == 0) {
            return Err(format!("it has {kept} values, and states {count}"));
        }
        let mut numbers = Distribution::with_exact_values(EXACT_VALUES);
        values.iter().for_each(|value| numbers.add(Some(*value)));
        // Of a sample as many are missing, in proportion.
        let of_sample =
            |part: u64| if kept == *count { part } else { (part as f64 * kept as f64 / *count as f64).round() as u64 };
        numbers.missing += of_sample(*missing);
        numbers.infinite += of_sample(*infinite);
        numbers.settle();
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
        let Baseline { features, scores, .. } = Baseline::read(text.as_bytes()).unwrap();
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
        ] {
            let error = Baseline::read(wrong.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
