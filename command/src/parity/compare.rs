//! The comparison: the sample of what was served is in memory, and what was recomputed passes by.
//! ```text
//! served ─▶ rows by key ◀─ matched ─ recomputed, row after row
//!                └─▶ counts by model version and feature ─▶ findings
//! ```
//! Served rows are the ones in memory because history is longer than what a model has served.

use std::collections::{BTreeMap, HashMap};

use tidemill_state::ErrorKind;

use super::cell::Cell;
use super::counts::{FeatureCounts, Strictness};
use super::files::Files;
use super::row::{FeatureRow, Names, Place, Wanted};
use crate::failure::Failure;

/// Number of keys that are named as examples.
const EXAMPLES: usize = 3;

/// What a comparison has found.
#[derive(Debug, Default)]
pub struct Findings {
    pub served: SideFindings,
    pub recomputed: SideFindings,
    /// Served rows with a recomputed one of their key.
    pub matched: u64,
    /// By the name of the model version; `-` where no model is named.
    pub models: BTreeMap<String, ModelFindings>,
    /// Recomputed rows in the sample that were never served.
    pub right_only: u64,
    /// Features of the served rows that no recomputed row has.
    pub only_served: Vec<String>,
    pub only_recomputed: Vec<String>,
    /// Features that both sides have.
    pub both: Vec<String>,
}

/// What was found on one side.
#[derive(Debug, Default)]
pub struct SideFindings {
    pub files: usize,
    pub rows: u64,
    /// Rows whose key is in the sample.
    pub sampled: u64,
    /// Rows whose key an earlier row has; of recomputed rows only those that were served.
    pub repeated: u64,
    /// Where the first of them is, and its key.
    pub first_repeated: Option<(String, String)>,
}

/// What was found of the rows of one model version.
#[derive(Debug, Default)]
pub struct ModelFindings {
    pub matched: u64,
    /// Served rows without a recomputed one.
    pub left_only: u64,
    /// The keys of the first of them, in their order.
    pub first_left_only: Vec<String>,
    /// Of features that both sides have, the worst ones first.
    pub features: Vec<(String, FeatureCounts)>,
}

/// A served row in memory.
struct Served {
    model: usize,
    cells: Box<[Cell]>,
    is_matched: bool,
    /// The row of the same key that another version was given, as a shadow is.
    next: Option<Box<Served>>,
}

impl Served {
    /// Returns the row of a version, from this one on.
    fn of_model(&self, model: usize) -> Option<&Self> {
        let mut row = Some(self);
        while let Some(found) = row.filter(|row| row.model != model) {
            row = found.next.as_deref();
        }
        row
    }
}

/// Which features appear on a side, by their numbers.
#[derive(Default)]
struct Appeared {
    as_feature: Vec<bool>,
    /// As a column beside others, which is a feature only if it is one on the other side.
    as_column: Vec<bool>,
}

impl Appeared {
    fn note(&mut self, row: &FeatureRow) {
        let appeared = if row.is_flat { &mut self.as_column } else { &mut self.as_feature };
        if appeared.len() < row.cells.len() {
            appeared.resize(row.cells.len(), false);
        }
        for (appeared, cell) in appeared.iter_mut().zip(&row.cells) {
            *appeared |= *cell != Cell::Absent;
        }
    }

    fn is_feature(&self, number: usize) -> bool {
        self.as_feature.get(number).copied().unwrap_or_default()
    }

    fn has(&self, number: usize) -> bool {
        self.is_feature(number) || self.as_column.get(number).copied().unwrap_or_default()
    }
}

struct Comparing {
    strictness: Strictness,
    served: HashMap<Box<str>, Served>,
    models: Vec<String>,
    counts: Vec<(u64, Vec<FeatureCounts>)>,
    left: Appeared,
    right: Appeared,
    findings: Findings,
}

/// Compares two sides. With `only`, just these features.
pub fn compare(
    [served, recomputed]: [&Files; 2],
    wanted: Wanted<'_>,
    only: &[String],
    strictness: Strictness,
) -> Result<Findings, Failure> {
    let mut names = Names::new(only);
    let mut comparing = Comparing {
        strictness,
        served: HashMap::new(),
        models: Vec::new(),
        counts: Vec::new(),
        left: Appeared::default(),
        right: Appeared::default(),
        findings: Findings::default(),
    };
    let rows = served.read(&wanted, &mut names, None, &mut |place, row| comparing.keep(place, row))?;
    comparing.findings.served.rows = rows;
    comparing.findings.served.files = served.len();
    // Of a training set, only what was served is read; if that is not known, all columns are.
    let features = (0..names.list().len()).filter(|number| comparing.left.is_feature(*number));
    let features: Vec<String> = features.filter_map(|number| names.list().get(number).cloned()).collect();
    let columns = if !only.is_empty() { Some(only) } else { Some(&features[..]).filter(|known| !known.is_empty()) };
    let rows = recomputed.read(&wanted, &mut names, columns, &mut |place, row| comparing.count(place, row))?;
    comparing.findings.recomputed.rows = rows;
    comparing.findings.recomputed.files = recomputed.len();
    comparing.finish(&names)
}

impl Comparing {
    /// Keeps a served row.
    fn keep(&mut self, place: &Place<'_>, row: FeatureRow) -> Result<(), Failure> {
        self.left.note(&row);
        self.findings.served.sampled += 1;
        let name = row.model.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
        let model = self.models.iter().position(|model| model == name).unwrap_or_else(|| {
            self.models.push(name.to_owned());
            self.models.len() - 1
        });
        let mut kept = Served { model, cells: row.cells.into_boxed_slice(), is_matched: false, next: None };
        match self.served.get_mut(row.key.as_str()) {
            None => _ = self.served.insert(row.key.into_boxed_str(), kept),
            Some(first) if first.of_model(model).is_some() => self.findings.served.repeat(place, row.key),
            Some(first) => {
                kept.next = first.next.take();
                first.next = Some(Box::new(kept));
            }
        }
        Ok(())
    }

    /// Compares a recomputed row with the served ones of its key.
    fn count(&mut self, place: &Place<'_>, row: FeatureRow) -> Result<(), Failure> {
        self.right.note(&row);
        self.findings.recomputed.sampled += 1;
        let Some(served) = self.served.get_mut(row.key.as_str()) else {
            self.findings.right_only += 1;
            return Ok(());
        };
        if std::mem::replace(&mut served.is_matched, true) {
            self.findings.recomputed.repeat(place, row.key);
            return Ok(());
        }
        let mut next = Some(&*served);
        while let Some(left) = next {
            self.findings.matched += 1;
            if self.counts.len() <= left.model {
                self.counts.resize_with(left.model + 1, Default::default);
            }
            if let Some((matched, counts)) = self.counts.get_mut(left.model) {
                *matched += 1;
                let width = left.cells.len().max(row.cells.len());
                if counts.len() < width {
                    counts.resize_with(width, FeatureCounts::default);
                }
                for (number, counts) in counts.iter_mut().enumerate().take(width) {
                    let [left, right] =
                        [&left.cells[..], &row.cells[..]].map(|cells| cells.get(number).unwrap_or(&Cell::Absent));
                    counts.add(&row.key, left, right, self.strictness);
                }
            }
            next = left.next.as_deref();
        }
        Ok(())
    }

    /// Returns what was found, without the columns that are no features.
    fn finish(mut self, names: &Names) -> Result<Findings, Failure> {
        let mut findings = std::mem::take(&mut self.findings);
        let is_compared = self.features(names, &mut findings)?;
        let mut left_only: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (key, first) in &self.served {
            let mut row = Some(first).filter(|first| !first.is_matched);
            while let Some(served) = row {
                left_only.entry(served.model).or_default().push(key);
                row = served.next.as_deref();
            }
        }
        self.counts.resize_with(self.models.len(), Default::default);
        for (model, (name, (matched, counts))) in self.models.iter().zip(self.counts).enumerate() {
            let mut unmatched = left_only.remove(&model).unwrap_or_default();
            // The map has no order, and a person expects 9 before 10.
            unmatched.sort_by_key(|key| (key.len(), *key));
            let mut features = Vec::new();
            for ((name, is_compared), mut counts) in names.list().iter().zip(&is_compared).zip(counts) {
                if *is_compared && counts.total > 0 {
                    counts.finish();
                    features.push((name.clone(), counts));
                }
            }
            features.sort_by(|(one, counts), (other, others)| {
                let worst = others.differing().cmp(&counts.differing());
                let smape = |counts: &FeatureCounts| counts.smape().unwrap_or_default();
                worst.then(smape(others).total_cmp(&smape(counts))).then_with(|| one.cmp(other))
            });
            let found = ModelFindings {
                matched,
                left_only: unmatched.len() as u64,
                first_left_only: unmatched.iter().take(EXAMPLES).map(|key| (*key).to_owned()).collect(),
                features,
            };
            findings.models.insert(name.clone(), found);
        }
        Ok(findings)
    }

    /// Finds out which features both sides have, and which only one of them. Returns for each name whether it is compared.
    fn features(&self, names: &Names, findings: &mut Findings) -> Result<Vec<bool>, Failure> {
        let (left, right) = (&self.left, &self.right);
        let is_feature = |number| names.is_closed() || left.is_feature(number) || right.is_feature(number);
        let list = names.list();
        // A side without rows lacks no feature: that it has no rows is said elsewhere.
        let [has_left, has_right] = [&findings.served, &findings.recomputed].map(|side| side.sampled > 0);
        let has_columns = (0..list.len()).any(|number| left.has(number) || right.has(number));
        if has_left && has_right && has_columns && !(0..list.len()).any(is_feature) {
            let on_both = (0..list.len()).filter(|number| left.has(*number) && right.has(*number));
            let on_both: Vec<&str> = on_both.filter_map(|number| list.get(number).map(String::as_str)).collect();
            let text = format!(
                "neither side has a field \"features\", so it is not known which columns are features: \
                 name them with --feature NAME; both have {}",
                on_both.join(", ")
            );
            return Err(Failure::new(ErrorKind::Invalid, text));
        }
        let mut is_compared = vec![false; list.len()];
        for ((number, name), is_compared) in list.iter().enumerate().zip(&mut is_compared) {
            if !is_feature(number) {
                continue;
            }
            match (left.has(number), right.has(number)) {
                (true, true) => {
                    *is_compared = true;
                    findings.both.push(name.clone());
                }
                (true, false) if has_right => findings.only_served.push(name.clone()),
                (false, true) if has_left => findings.only_recomputed.push(name.clone()),
                (false, false) if has_left && has_right => {
                    let text = format!("neither side has the feature \"{name}\" that --feature names");
                    return Err(Failure::new(ErrorKind::Invalid, text));
                }
                _ => {}
            }
        }
        Ok(is_compared)
    }
}

impl SideFindings {
    fn repeat(&mut self, place: &Place<'_>, key: String) {
        self.repeated += 1;
        self.first_repeated.get_or_insert_with(|| (place.to_string(), key));
    }
}

impl Findings {
    /// Returns the number of values in which the sides do not agree.
    pub fn differing(&self) -> u64 {
        self.models.values().flat_map(|model| &model.features).map(|(_, counts)| counts.differing()).sum()
    }

    /// Returns the number of served rows without a recomputed one.
    pub fn left_only(&self) -> u64 {
        self.models.values().map(|model| model.left_only).sum()
    }
}
