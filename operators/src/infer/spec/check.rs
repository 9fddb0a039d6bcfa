//! Whether a `features.json` fits the features of a program, and the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::format::{Domain, Dtype, Encode, FORMAT, Feature, OnOutOfRange, OnUnknown, SpecFile};
use super::rules::{Counts, FeatureRules, Kind, Rule};
use crate::infer::features::Features;
use crate::infer::field::FeatureKind;

impl FeatureRules {
    /// Reads a file, which has this SHA-256, for the features of a program and the input of a model.
    ///
    /// # Errors
    /// Returns everything that does not fit, with both sides.
    pub(in crate::infer) fn read<F: Features>(bytes: &[u8], sha256: String, input: &str) -> Result<Self, String> {
        let file: SpecFile = serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
        if file.format != FORMAT {
            return Err(format!("it is of format {}, and this version of the engine reads {FORMAT}", file.format));
        }
        let mut features = BTreeMap::new();
        let mut faults = Vec::new();
        for feature in file.features.into_iter().filter(|feature| !feature.labels_only) {
            let name = feature.name.clone();
            if features.insert(name.clone(), feature).is_some() {
                faults.push(format!("{name} is there twice"));
            }
        }
        let filled: usize = features.values().map(Feature::columns).sum();
        if file.width != filled {
            return Err(format!("its width is {}, and its features fill {filled} columns", file.width));
        }
        let mut columns = vec![String::new(); file.width];
        let mut rules = Vec::new();
        let mut lacking = Vec::new();
        for (at, name) in F::NAMES.iter().enumerate() {
            let Some(feature) = features.remove(*name) else {
                lacking.push(*name);
                continue;
            };
            let kind = F::KINDS.get(at).copied().unwrap_or_default();
            if (feature.dtype == Dtype::Text) != (kind == FeatureKind::Text) {
                let dtype = format!("{:?}", feature.dtype).to_lowercase();
                faults.push(format!("{name} is of dtype {dtype} there, and a {kind} in the program"));
                continue;
            }
            if feature.max_age.is_some() && !F::AGED.get(at).is_some_and(|is_aged| *is_aged) {
                faults.push(format!(
                    "{name} has a max_age there, and no age in the program, where `{name}: aged` gives it one"
                ));
                continue;
            }
            match rule(feature, input).and_then(|rule| rule.name_columns(&mut columns).map(|()| rule)) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(format!("{name}: {fault}")),
            }
        }
        if !lacking.is_empty() {
            faults.push(format!("it lacks the program's {}", lacking.join(", ")));
        }
        if !features.is_empty() {
            let others: Vec<&str> = features.keys().map(String::as_str).collect();
            faults.push(format!("the program lacks its {}", others.join(", ")));
        }
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        Ok(Self { sha256, columns, rules })
    }
}

impl Feature {
    /// Returns the number of columns that it fills.
    fn columns(&self) -> usize {
        let own = if self.encode == Encode::OneHot { self.vocabulary.len() } else { 1 };
        own + usize::from(self.indicator.is_some())
    }
}

/// Makes the rule of a feature.
fn rule(feature: Feature, input: &str) -> Result<Rule, String> {
    let (Some(of), Some(position)) = (feature.input, feature.position) else {
        return Err("input and position are needed".to_owned());
    };
    if of != input {
        return Err(format!("its input is \"{of}\", and that of the model is \"{input}\""));
    }
    let missing = feature.impute.map_or(f64::NAN, |impute| impute.value);
    let domain: Domain = feature.domain.unwrap_or_default();
    if let (Some(min), Some(max)) = (domain.min, domain.max)
        && min > max
    {
        return Err(format!("its domain is empty: min is {min}, and max is {max}"));
    }
    let kind = if feature.dtype == Dtype::Text {
        if feature.vocabulary.is_empty() {
            return Err("a text needs a vocabulary".to_owned());
        }
        let size = feature.vocabulary.len();
        let all = feature.vocabulary.into_iter().enumerate().map(|(index, entry)| (entry, index));
        let vocabulary: HashMap<String, usize> = all.collect();
        if vocabulary.len() < size {
            return Err("an entry of its vocabulary is there twice".to_owned());
        }
        let unknown_code = match (feature.unknown, feature.encode, feature.unknown_code) {
            (OnUnknown::Code, Encode::Ordinal, None) => return Err("unknown_code is needed".to_owned()),
            (_, Encode::OneHot, _) => -1.0,
            (.., code) => code.unwrap_or(-1.0),
        };
        Kind::Text {
            vocabulary,
            encode: feature.encode,
            unknown: feature.unknown,
            unknown_code,
            missing,
            is_required: domain.disallow_nan && feature.on_out_of_range == OnOutOfRange::DeadLetter,
        }
    } else {
        if !feature.vocabulary.is_empty() {
            return Err("only a text has a vocabulary".to_owned());
        }
        let is_f32 = feature.dtype == Dtype::F32;
        Kind::Number { domain, on_out_of_range: feature.on_out_of_range, is_f32, missing }
    };
    let Feature { name, indicator, max_age, .. } = feature;
    Ok(Rule { name, position, kind, indicator, max_age, counts: Counts::default() })
}

impl Rule {
    /// Names the columns that it fills, each of which is filled once.
    fn name_columns(&self, columns: &mut [String]) -> Result<(), String> {
        let mut own: Vec<(usize, String)> = match &self.kind {
            Kind::Text { vocabulary, encode: Encode::OneHot, .. } => vocabulary
                .iter()
                .map(|(entry, index)| (self.position.saturating_add(*index), self.column_of(entry)))
                .collect(),
            _ => vec![(self.position, self.name.clone())],
        };
        own.extend(self.indicator.map(|column| (column, format!("{}:missing", self.name))));
        let width = columns.len();
        let mut taken = BTreeSet::new();
        for (at, name) in own {
            let column = columns.get_mut(at).ok_or_else(|| format!("its column {at} is not one of {width}"))?;
            if !column.is_empty() || !taken.insert(at) {
                return Err(format!("its column {at} is that of {column}, too"));
            }
            *column = name;
        }
        Ok(())
    }

    /// Returns the name of the column of an entry. A comma separates names in the metadata of a model.
    fn column_of(&self, entry: &str) -> String {
        format!("{}={}", self.name, entry.replace('%', "%25").replace(',', "%2C")).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use std::time::Duration;

    use super::*;
    use crate::infer::Aged;
    use crate::infer::spec::{OddCounts, OddTotals};

    crate::features! {
        struct Payment { amount, age: aged or 40.0, country: text, channel: text }
    }

    fn file() -> Value {
        json!({
            "format": 1, "model": "fraud", "width": 7,
            "features": [
                { "name": "country", "dtype": "text", "input": "features", "position": 2, "vocabulary": ["DE", "FR"],
                  "encode": "one_hot", "unknown": "code" },
                { "name": "amount", "dtype": "f64", "input": "features", "position": 0,
                  "domain": { "min": 0.0, "max": 100.0, "disallow_inf": true }, "on_out_of_range": "clip" },
                { "name": "age", "dtype": "f32", "input": "features", "position": 1, "indicator": 6,
                  "impute": { "strategy": "median", "value": 35.5 }, "max_age": "7d",
                  "domain": { "max": 120.0 }, "on_out_of_range": "missing", "presence": { "min_fraction": 0.9 } },
                { "name": "channel", "dtype": "text", "input": "features", "position": 4, "vocabulary": ["web", "shop"],
                  "encode": "ordinal", "unknown": "dead_letter" },
                { "name": "hour", "dtype": "i64", "input": "features", "position": 5,
                  "drift": { "method": "psi", "threshold": 0.1 } },
                { "name": "is_fraud", "dtype": "bool", "labels_only": true },
            ],
        })
    }

    /// The file, without a feature that the program does not have.
    fn fitting() -> Value {
        let mut file = file();
        file["features"].as_array_mut().unwrap().remove(4);
        file["features"][2]["indicator"] = 5.into();
        file["width"] = 6.into();
        file
    }

    fn read(file: &Value) -> Result<FeatureRules, String> {
        FeatureRules::read::<Payment>(file.to_string().as_bytes(), "hash".to_owned(), "features")
    }

    fn written(rules: &FeatureRules, payment: &Payment, odd: &mut OddCounts) -> Result<Vec<f32>, String> {
        let mut row = vec![9.0; rules.columns().len()];
        rules.write(payment, &mut row, odd).map(|()| row)
    }

    #[test]
    fn each_rule_is_applied_before_the_batch() {
        let rules = read(&fitting()).unwrap();
        let mut odd_counts = OddCounts::default();
        let mut row = |payment: &Payment| written(&rules, payment, &mut odd_counts);
        let aged = |value: f64, days: u64| Some(Aged { value, age: Duration::from_secs(days * 24 * 3600) });
        assert_eq!(rules.columns(), ["amount", "age", "country=DE", "country=FR", "channel", "age:missing"]);
        let text = |text: &str| Some(text.to_owned());
        let payment = Payment { amount: 3.5, age: aged(30.0, 7), country: text("FR"), channel: text("shop") };
        assert_eq!(row(&payment), Ok(vec![3.5, 30.0, 0.0, 1.0, 1.0, 0.0]));
        let odd = Payment { amount: -2.0, age: aged(121.0, 0), country: text("XX"), ..payment.clone() };
        assert_eq!(row(&odd), Ok(vec![0.0, 35.5, 0.0, 0.0, 1.0, 1.0]));
        let missing = Payment { amount: f64::NAN, age: None, country: None, channel: None };
        let found = row(&missing).unwrap();
        assert!([0, 2, 3, 4].iter().all(|at| found[*at].is_nan()) && found[1] == 35.5 && found[5] == 1.0, "{found:?}");
        let refused = row(&Payment { channel: text("phone"), ..payment.clone() }).unwrap_err();
        assert_eq!(refused, "feature channel is \"phone\", which is none of the 2 entries of its vocabulary");
        let old = Payment {
            age: Some(Aged { value: 30.0, age: Duration::from_millis(7 * 24 * 3_600_000 + 1) }),
            ..payment.clone()
        };
        assert_eq!(row(&old), Ok(vec![3.5, 35.5, 0.0, 1.0, 1.0, 1.0]), "it is missing");
        // Whatever it was, nobody knows what it is now.
        assert_eq!(row(&Payment { age: aged(f64::NAN, 8), ..payment.clone() }), row(&old));
        let infinite = Payment { amount: f64::INFINITY, ..payment };
        assert_eq!(row(&infinite).map(|row| row[0]), Ok(100.0), "the nearest end");
        let wanted = json!({
            "amount": { "MISSING": 1, "FLOAT_TYPE_SMALL_FLOAT": 1, "FLOAT_TYPE_HAS_INF": 1 },
            "age": { "MISSING": 5, "FLOAT_TYPE_BIG_FLOAT": 1, "OUTSIDE_MAX_AGE": 3 },
            "country": { "MISSING": 1, "ENUM_TYPE_UNEXPECTED_STRING_VALUES": 1 },
            "channel": { "MISSING": 1, "ENUM_TYPE_UNEXPECTED_STRING_VALUES": 1 },
        });
        let totals = OddTotals { missing: 8, unknown: 2, out_of_range: 3, too_old: 3 };
        assert_eq!((rules.add(&mut odd_counts), rules.add(&mut odd_counts)), (totals, OddTotals::default()));
        assert_eq!(rules.status(), wanted);
    }

    #[test]
    fn how_drift_is_compared_is_for_drift() {
        for threshold in [json!("learned"), json!(0.1), json!(1), Value::Null] {
            let mut file = fitting();
            file["features"][1]["drift"] = json!({ "method": "psi", "threshold": threshold });
            assert!(read(&file).is_ok(), "{threshold}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_sides() {
        let error = read(&file()).unwrap_err();
        assert_eq!(error, "the program lacks its hour");
        let faulty = |change: fn(&mut Value)| {
            let mut file = fitting();
            change(&mut file);
            read(&file).unwrap_err()
        };
        for (change, why) in [
            ((|file| file["format"] = 2.into()) as fn(&mut Value), "format 2, and this version of the engine reads 1"),
            (
                |file| file["features"][1]["name"] = "sum".into(),
                "it lacks the program's amount; the program lacks its sum",
            ),
            (
                |file| file["features"][1]["dtype"] = "text".into(),
                "amount is of dtype text there, and a number in the program",
            ),
            (
                |file| file["features"][0]["dtype"] = "f64".into(),
                "country is of dtype f64 there, and a text in the program",
            ),
            (|file| file["features"][1]["position"] = 1.into(), "age: its column 1 is that of amount, too"),
            (|file| file["features"][1]["position"] = 8.into(), "amount: its column 8 is not one of 6"),
            (|file| file["width"] = 7.into(), "its width is 7, and its features fill 6 columns"),
            (|file| file["width"] = 10_000_000_000_u64.into(), "its width is 10000000000, and"),
            (|file| file["features"][1]["drift"] = json!({ "methd": "psi" }), "unknown field `methd`"),
            (
                |file| file["features"][1]["drift"] = json!({ "method": "psi", "threshold": "learnt" }),
                "threshold is neither a number nor \"learned\"",
            ),
            (
                |file| file["features"][1]["max_age"] = "1h".into(),
                "amount has a max_age there, and no age in the program, where `amount: aged` gives it one",
            ),
            (|file| file["features"][1]["input"] = "other".into(), "its input is \"other\", and that of the model"),
            (
                |file| file["features"][1]["domain"]["min"] = 200.into(),
                "its domain is empty: min is 200, and max is 100",
            ),
            (|file| file["features"][3]["vocabulary"] = json!(["web", "web"]), "is there twice"),
            (|file| file["features"][3]["vocabulary"] = json!([]), "channel: a text needs a vocabulary"),
            (|file| file["features"][3]["unknown"] = "code".into(), "channel: unknown_code is needed"),
            (|file| file["features"][1]["colour"] = "red".into(), "unknown field `colour`"),
            (|file| file["features"][1]["on_out_of_range"] = "ignore".into(), "unknown variant `ignore`"),
        ] {
            let error = faulty(change);
            assert!(error.contains(why), "{error}: {why}");
        }
    }
}
