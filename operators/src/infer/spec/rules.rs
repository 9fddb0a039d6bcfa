//! The rules for a record: its features become a row of the model's input.

use std::collections::HashMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::format::{Domain, Encode, OnOutOfRange, OnUnknown};
use crate::infer::features::{Features, narrowed};
use crate::infer::field::FeatureCell;
use crate::infer::narrow::narrow;

/// The rules of a model's `features.json`, checked against the features of a program.
pub struct FeatureRules {
    /// The SHA-256 of the file.
    pub(super) sha256: String,
    /// Number of columns, and their names.
    pub(super) columns: Vec<String>,
    /// In the order of the program's features.
    pub(super) rules: Vec<Rule>,
}

/// What can be odd about a feature.
#[derive(Clone, Copy, Debug)]
enum Odd {
    Missing,
    Unknown,
    Big,
    Small,
    Nan,
    Infinite,
    TooOld,
}

impl Odd {
    const COUNT: usize = Self::TooOld as usize + 1;
    /// Under these names they are shown: those of TensorFlow Metadata, and of Feast for a value that is too old.
    const ALL: [(Self, &str); Self::COUNT] = [
        (Self::Missing, "MISSING"),
        (Self::Unknown, "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        (Self::Big, "FLOAT_TYPE_BIG_FLOAT"),
        (Self::Small, "FLOAT_TYPE_SMALL_FLOAT"),
        (Self::Nan, "FLOAT_TYPE_HAS_NAN"),
        (Self::Infinite, "FLOAT_TYPE_HAS_INF"),
        (Self::TooOld, "OUTSIDE_MAX_AGE"),
    ];
}

/// How often each feature was odd in some rows. All workers have the rules in common: they count for themselves, and add
/// that up once for many rows.
#[derive(Debug, Default)]
pub(in crate::infer) struct OddCounts {
    /// By feature, as far as any was odd.
    by_rule: Vec<[u64; Odd::COUNT]>,
}

impl OddCounts {
    fn count(&mut self, rule: usize, odd: Odd) {
        if self.by_rule.len() <= rule {
            self.by_rule.resize(rule + 1, [0; Odd::COUNT]);
        }
        self.by_rule[rule][odd as usize] += 1;
    }
}

/// How many features were odd, whatever feature it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::infer) struct OddTotals {
    pub(in crate::infer) missing: u64,
    pub(in crate::infer) unknown: u64,
    pub(in crate::infer) out_of_range: u64,
    pub(in crate::infer) too_old: u64,
}

impl AddAssign for OddTotals {
    fn add_assign(&mut self, Self { missing, unknown, out_of_range, too_old }: Self) {
        self.missing += missing;
        self.unknown += unknown;
        self.out_of_range += out_of_range;
        self.too_old += too_old;
    }
}

/// The rule of a feature.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// The first column.
    pub(super) position: usize,
    pub(super) kind: Kind,
    /// The column that says whether the feature is missing.
    pub(super) indicator: Option<usize>,
    /// An older value is missing.
    pub(super) max_age: Option<Duration>,
    /// How often it was odd since the model was loaded in this process.
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Odd::COUNT]);

#[derive(Debug)]
pub(super) enum Kind {
    Number {
        domain: Domain,
        on_out_of_range: OnOutOfRange,
        /// Whether values are rounded to f32 first.
        is_f32: bool,
        /// What the model gets for a missing value; NaN if nothing is said.
        missing: f64,
    },
    Text {
        vocabulary: HashMap<String, usize>,
        encode: Encode,
        unknown: OnUnknown,
        unknown_code: f64,
        /// The code of a missing value; NaN if nothing is said.
        missing: f64,
        /// Whether a record without it is a dead letter.
        is_required: bool,
    },
}

impl FeatureRules {
    /// Returns the SHA-256 of the file, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Adds what was odd in the rows of a worker, forgets it there, and returns how much it was.
    pub(in crate::infer) fn add(&self, odd: &mut OddCounts) -> OddTotals {
        let mut totals = OddTotals::default();
        for (rule, counts) in self.rules.iter().zip(odd.by_rule.drain(..)) {
            for ((odd, _), count) in Odd::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
                rule.counts.0[odd as usize].fetch_add(count, Ordering::Relaxed);
                *match odd {
                    Odd::Missing => &mut totals.missing,
                    Odd::Unknown => &mut totals.unknown,
                    Odd::Big | Odd::Small | Odd::Nan | Odd::Infinite => &mut totals.out_of_range,
                    Odd::TooOld => &mut totals.too_old,
                } += count;
            }
        }
        totals
    }

    /// Returns the row that the model gets for these features: after imputation, encoding and rounding. What is odd about
    /// them is not counted.
    ///
    /// # Errors
    /// Returns the name of the feature and the reason why the record is not to be scored.
    pub fn encode<F: Features>(&self, features: &F) -> Result<Vec<f32>, String> {
        let mut row = vec![0.0; self.columns.len()];
        self.write(features, &mut row, &mut OddCounts::default()).map(|()| row)
    }

    /// Returns the names of the columns of the model's input.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the number of features of the program.
    pub(in crate::infer) fn features(&self) -> usize {
        self.rules.len()
    }

    /// Writes the features of a record into a row, which has the width of the model's input.
    ///
    /// # Errors
    /// Returns the name of the feature and the reason why the record is not to be scored.
    pub(in crate::infer) fn write<F: Features>(
        &self,
        features: &F,
        row: &mut [f32],
        odd: &mut OddCounts,
    ) -> Result<(), String> {
        self.write_cells(row, odd, |write| {
            features.visit(&mut |at, cell| {
                let is_aged = F::AGED.get(at).is_some_and(|is_aged| *is_aged);
                write(at, cell, if is_aged { features.age(at) } else { None });
            });
        })
    }

    /// Writes a row from the cells that `each` hands out, with the index of the feature, and its age where it is known.
    pub(in crate::infer) fn write_cells(
        &self,
        row: &mut [f32],
        odd: &mut OddCounts,
        each: impl FnOnce(&mut dyn FnMut(usize, FeatureCell<'_>, Option<Duration>)),
    ) -> Result<(), String> {
        let mut fault = None;
        each(&mut |at, cell, age| {
            let Some(rule) = self.rules.get(at) else { return };
            if let Err(reason) = rule.write(cell, age, row, &mut |what| odd.count(at, what)) {
                fault.get_or_insert(reason);
            }
        });
        fault.map_or(Ok(()), Err)
    }

    /// Returns what was odd about each feature since the model was loaded in this process, by its name; what was never odd is
    /// not there.
    pub(in crate::infer) fn status(&self) -> Value {
        let of_rule = |rule: &Rule| {
            let counts = Odd::ALL.map(|(odd, name)| (name, rule.counts.0[odd as usize].load(Ordering::Relaxed)));
            let odd = counts.into_iter().filter(|(_, count)| *count > 0);
            let odd: Map<String, Value> = odd.map(|(name, count)| (name.to_owned(), count.into())).collect();
            (!odd.is_empty()).then(|| (rule.name.clone(), Value::Object(odd)))
        };
        Value::Object(self.rules.iter().filter_map(of_rule).collect())
    }
}

impl Rule {
    fn write(
        &self,
        cell: FeatureCell<'_>,
        age: Option<Duration>,
        row: &mut [f32],
        count: &mut impl FnMut(Odd),
    ) -> Result<(), String> {
        let too_old = age.zip(self.max_age).filter(|(age, most)| cell != FeatureCell::Missing && age > most);
        let Some((age, most)) = too_old else { return self.write_cell(cell, row, count) };
        count(Odd::TooOld);
        self.write_cell(FeatureCell::Missing, row, count).map_err(|reason| {
            let [age, most] = [age, most].map(humantime::format_duration);
            format!("{reason}; its value is {age} old, and max_age is {most}")
        })
    }

    fn write_cell(&self, cell: FeatureCell<'_>, row: &mut [f32], count: &mut impl FnMut(Odd)) -> Result<(), String> {
        if let Some(value) = self.usual(cell) {
            set(row, self.position, value);
            if let Some(column) = self.indicator {
                set(row, column, 0.0);
            }
            return Ok(());
        }
        self.write_any(cell, row, count)
    }

    /// Returns what the model gets for a number that no rule changes, as nearly all are.
    #[inline]
    fn usual(&self, cell: FeatureCell<'_>) -> Option<f32> {
        let (Kind::Number { domain, is_f32, .. }, FeatureCell::Number(value)) = (&self.kind, cell) else { return None };
        let narrow = value as f32;
        let value = if *is_f32 { f64::from(narrow) } else { value };
        let is_within = domain.min.is_none_or(|min| value >= min) && domain.max.is_none_or(|max| value <= max);
        (narrow.is_finite() && is_within).then_some(narrow)
    }

    fn write_any(&self, cell: FeatureCell<'_>, row: &mut [f32], count: &mut impl FnMut(Odd)) -> Result<(), String> {
        let is_missing = match &self.kind {
            Kind::Number { domain, on_out_of_range, is_f32, missing } => {
                let found = self.number(cell, domain, (*on_out_of_range, *is_f32), count)?;
                let value = found.unwrap_or(*missing);
                set(row, self.position, narrowed(&self.name, value)?);
                found.is_none()
            }
            Kind::Text { vocabulary, encode, unknown, unknown_code, missing, is_required } => {
                let found = self.code(cell, vocabulary, (*unknown, *unknown_code), count)?;
                if found.is_none() && *is_required {
                    return Err(format!("feature {} is missing, and the model needs it", self.name));
                }
                let code = found.unwrap_or(*missing);
                match encode {
                    Encode::Ordinal => set(row, self.position, code as f32),
                    Encode::OneHot => {
                        let cell =
                            |index: usize| if code.is_nan() { f32::NAN } else { f32::from(code == index as f64) };
                        (0..vocabulary.len()).for_each(|index| set(row, self.position + index, cell(index)));
                    }
                }
                found.is_none()
            }
        };
        if is_missing {
            count(Odd::Missing);
        }
        if let Some(column) = self.indicator {
            set(row, column, f32::from(u8::from(is_missing)));
        }
        Ok(())
    }

    /// Returns the number that the model gets; none if it is missing.
    fn number(
        &self,
        cell: FeatureCell<'_>,
        domain: &Domain,
        (then, is_f32): (OnOutOfRange, bool),
        count: &mut impl FnMut(Odd),
    ) -> Result<Option<f64>, String> {
        let refused = |what: String| format!("feature {} is {what}, and the model takes {}", self.name, shown(domain));
        let value = match cell {
            FeatureCell::Number(value) if !value.is_nan() => value,
            _ if !domain.disallow_nan => return Ok(None),
            _ => {
                count(Odd::Nan);
                let missing = Err(refused("missing".to_owned()));
                return if then == OnOutOfRange::DeadLetter { missing } else { Ok(None) };
            }
        };
        let value = if is_f32 { narrow(value).map_or(value, f64::from) } else { value };
        let (min, max) = (domain.min.unwrap_or(f64::NEG_INFINITY), domain.max.unwrap_or(f64::INFINITY));
        let odd = if value.is_infinite() && (domain.disallow_inf || value > max || value < min) {
            Odd::Infinite
        } else if value > max {
            Odd::Big
        } else if value < min {
            Odd::Small
        } else {
            return Ok(Some(value));
        };
        count(odd);
        match then {
            OnOutOfRange::Pass => Ok(Some(value)),
            OnOutOfRange::Clip => {
                let nearest = value.max(min).min(max);
                Ok(Some(nearest).filter(|nearest| nearest.is_finite() || !domain.disallow_inf))
            }
            OnOutOfRange::Missing => Ok(None),
            OnOutOfRange::DeadLetter => Err(refused(value.to_string())),
        }
    }

    /// Returns the code of a text; none if it is missing.
    fn code(
        &self,
        cell: FeatureCell<'_>,
        vocabulary: &HashMap<String, usize>,
        (unknown, code): (OnUnknown, f64),
        count: &mut impl FnMut(Odd),
    ) -> Result<Option<f64>, String> {
        let FeatureCell::Text(text) = cell else { return Ok(None) };
        if let Some(index) = vocabulary.get(text) {
            return Ok(Some(*index as f64));
        }
        count(Odd::Unknown);
        match unknown {
            OnUnknown::Code => Ok(Some(code)),
            OnUnknown::Missing => Ok(None),
            OnUnknown::DeadLetter => {
                let size = vocabulary.len();
                Err(format!("feature {} is {text:?}, which is none of the {size} entries of its vocabulary", self.name))
            }
        }
    }
}

fn set(row: &mut [f32], column: usize, value: f32) {
    if let Some(cell) = row.get_mut(column) {
        *cell = value;
    }
}

/// Formats a domain for people to read.
fn shown(domain: &Domain) -> String {
    let end = |end: Option<f64>| end.map_or_else(String::new, |end| end.to_string());
    let no = match (domain.disallow_nan, domain.disallow_inf) {
        (true, true) => ", neither NaN nor infinite",
        (true, false) => ", not NaN",
        (false, true) => ", not infinite",
        (false, false) => "",
    };
    format!("{}..={}{no}", end(domain.min), end(domain.max))
}

/// Files that are the same are the same rules.
impl PartialEq for FeatureRules {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl fmt::Debug for FeatureRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureRules").field("sha256", &self.sha256).field("columns", &self.columns).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -9.0..9.0f64, any::<f32>().prop_map(f64::from), Just(f64::from(f32::MAX) * 1.1)]
    }

    proptest! {
        #[test]
        fn a_usual_number_is_what_all_rules_make_of_it(
            value in numbers(),
            (min, max) in (prop::option::of(numbers()), prop::option::of(numbers())),
            (disallow_nan, disallow_inf, is_f32) in any::<(bool, bool, bool)>(),
        ) {
            let domain = Domain { min, max, disallow_nan, disallow_inf };
            let kind = Kind::Number { domain, on_out_of_range: OnOutOfRange::Missing, is_f32, missing: 7.0 };
            let (name, counts) = ("x".to_owned(), Counts::default());
            let rule = Rule { name, position: 1, kind, indicator: Some(0), max_age: None, counts };
            let cell = FeatureCell::Number(value);
            let Some(usual) = rule.usual(cell) else { return Ok(()) };
            let (mut row, mut odd) = ([9.0, 9.0], 0);
            prop_assert_eq!(rule.write_any(cell, &mut row, &mut |_| odd += 1), Ok(()));
            prop_assert_eq!((row, odd), ([0.0, usual], 0));
        }
    }
}
