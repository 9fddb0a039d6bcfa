//! The rules for a record: its features become a row of the model's input.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

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
    pub(super) totals: Totals,
}

/// How often something was odd about any feature, and how much of it is in the metrics of an operator.
#[derive(Debug, Default)]
pub(super) struct Totals {
    odd: [AtomicU64; 3],
    reported: [AtomicU64; 3],
}

/// What can be odd about a feature; an index of the totals.
#[derive(Clone, Copy)]
enum Odd {
    Missing,
    Unknown,
    OutOfRange,
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
    pub(super) counts: Counts,
}

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

/// How often something was odd about a feature; the names are those of TensorFlow Metadata.
#[derive(Debug, Default)]
pub(super) struct Counts {
    missing: AtomicU64,
    unknown: AtomicU64,
    big: AtomicU64,
    small: AtomicU64,
    nan: AtomicU64,
    inf: AtomicU64,
}

impl Counts {
    fn named(&self) -> [(&'static str, &AtomicU64); 6] {
        [
            ("MISSING", &self.missing),
            ("ENUM_TYPE_UNEXPECTED_STRING_VALUES", &self.unknown),
            ("FLOAT_TYPE_BIG_FLOAT", &self.big),
            ("FLOAT_TYPE_SMALL_FLOAT", &self.small),
            ("FLOAT_TYPE_HAS_NAN", &self.nan),
            ("FLOAT_TYPE_HAS_INF", &self.inf),
        ]
    }
}

impl FeatureRules {
    /// Returns the SHA-256 of the file, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the number of features that were missing, unknown and out of range since any worker of this process called
    /// it.
    pub(in crate::infer) fn take_odd(&self) -> [u64; 3] {
        std::array::from_fn(|at| {
            let now = self.totals.odd[at].load(Ordering::Relaxed);
            now.saturating_sub(self.totals.reported[at].fetch_max(now, Ordering::Relaxed))
        })
    }

    /// Forgets what was odd so far, about rows that were no records.
    #[cfg(feature = "onnx")]
    pub(in crate::infer) fn forget(&self) {
        let own = self.totals.odd.iter().chain(&self.totals.reported);
        let of_rules = self.rules.iter().flat_map(|rule| rule.counts.named().map(|(_, count)| count));
        own.chain(of_rules).for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Returns the row that the model gets for these features: after imputation, encoding and rounding.
    ///
    /// # Errors
    /// Returns the name of the feature and the reason why the record is not to be scored.
    pub fn encode<F: Features>(&self, features: &F) -> Result<Vec<f32>, String> {
        let mut row = vec![0.0; self.columns.len()];
        self.write(features, &mut row).map(|()| row)
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
    pub(in crate::infer) fn write<F: Features>(&self, features: &F, row: &mut [f32]) -> Result<(), String> {
        self.write_cells(row, |write| features.visit(write))
    }

    /// Writes a row from the cells that `each` hands out, by the index of the feature.
    pub(in crate::infer) fn write_cells(
        &self,
        row: &mut [f32],
        each: impl FnOnce(&mut dyn FnMut(usize, FeatureCell<'_>)),
    ) -> Result<(), String> {
        let mut fault = None;
        each(&mut |at, cell| {
            if let Some(Err(reason)) = self.rules.get(at).map(|rule| rule.write(cell, row, &self.totals)) {
                fault.get_or_insert(reason);
            }
        });
        fault.map_or(Ok(()), Err)
    }

    /// Returns what was odd about each feature since the model was loaded in this process, by its name; what was never odd is
    /// not there.
    pub(in crate::infer) fn status(&self) -> Value {
        let of_rule = |rule: &Rule| {
            let counts = rule.counts.named().into_iter();
            let odd = counts.map(|(name, count)| (name, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0);
            let odd: Map<String, Value> = odd.map(|(name, count)| (name.to_owned(), count.into())).collect();
            (!odd.is_empty()).then(|| (rule.name.clone(), Value::Object(odd)))
        };
        Value::Object(self.rules.iter().filter_map(of_rule).collect())
    }
}

impl Rule {
    fn write(&self, cell: FeatureCell<'_>, row: &mut [f32], totals: &Totals) -> Result<(), String> {
        let count = |counter: &AtomicU64, odd: Odd| {
            counter.fetch_add(1, Ordering::Relaxed);
            totals.odd[odd as usize].fetch_add(1, Ordering::Relaxed);
        };
        let is_missing = match &self.kind {
            Kind::Number { domain, on_out_of_range, is_f32, missing } => {
                let odd = |counter: &AtomicU64| count(counter, Odd::OutOfRange);
                let found = self.number(cell, domain, (*on_out_of_range, *is_f32), odd)?;
                let value = found.unwrap_or(*missing);
                set(row, self.position, narrowed(&self.name, value)?);
                found.is_none()
            }
            Kind::Text { vocabulary, encode, unknown, unknown_code, missing, is_required } => {
                let odd = |counter: &AtomicU64| count(counter, Odd::Unknown);
                let found = self.code(cell, vocabulary, (*unknown, *unknown_code), odd)?;
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
            count(&self.counts.missing, Odd::Missing);
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
        odd: impl Fn(&AtomicU64),
    ) -> Result<Option<f64>, String> {
        let refused = |what: String| format!("feature {} is {what}, and the model takes {}", self.name, shown(domain));
        let value = match cell {
            FeatureCell::Number(value) if !value.is_nan() => value,
            _ if !domain.disallow_nan => return Ok(None),
            _ => {
                odd(&self.counts.nan);
                let missing = Err(refused("missing".to_owned()));
                return if then == OnOutOfRange::DeadLetter { missing } else { Ok(None) };
            }
        };
        let value = if is_f32 { narrow(value).map_or(value, f64::from) } else { value };
        let (min, max) = (domain.min.unwrap_or(f64::NEG_INFINITY), domain.max.unwrap_or(f64::INFINITY));
        let counter = if value.is_infinite() && (domain.disallow_inf || value > max || value < min) {
            &self.counts.inf
        } else if value > max {
            &self.counts.big
        } else if value < min {
            &self.counts.small
        } else {
            return Ok(Some(value));
        };
        odd(counter);
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
        odd: impl Fn(&AtomicU64),
    ) -> Result<Option<f64>, String> {
        let FeatureCell::Text(text) = cell else { return Ok(None) };
        if let Some(index) = vocabulary.get(text) {
            return Ok(Some(*index as f64));
        }
        odd(&self.counts.unknown);
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
