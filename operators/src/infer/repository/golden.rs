//! Golden rows: features with the score that they have where the model was trained.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::infer::backend::ModelSource;
use crate::infer::element::{ElementType, Elements};
use crate::infer::features::{Features, narrowed};
use crate::infer::field::FeatureCell;
use crate::infer::loaded::{Loaded, outputs_of};
use crate::infer::model::Model;
use crate::infer::spec::{FeatureRules, OddCounts};
use crate::infer::tensor::Tensor;

/// The difference from a stated score that is allowed, relative to the score where that is larger than 1.
const TOLERANCE: f64 = 1e-6;
/// The number of rows of a run.
const ROWS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    features: Values,
    score: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    InOrder(Vec<Option<Cell>>),
    ByName(BTreeMap<String, Option<Cell>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl Cell {
    fn of(cell: Option<&Self>) -> FeatureCell<'_> {
        match cell {
            None => FeatureCell::Missing,
            Some(Self::Number(value)) => FeatureCell::Number(*value),
            Some(Self::Text(text)) => FeatureCell::Text(text),
            Some(Self::Bool(value)) => FeatureCell::Number(f64::from(*value)),
        }
    }
}

/// The rows of a `golden.jsonl`.
pub(super) struct Golden {
    columns: Vec<String>,
    rows: Vec<f32>,
    scores: Vec<f64>,
    /// The line of each row.
    lines: Vec<usize>,
}

impl Golden {
    /// Reads the rows. An error says which line is wrong, and how.
    pub(super) fn read<F: Features>(text: &str, rules: Option<&FeatureRules>) -> Result<Self, String> {
        let columns = match rules {
            Some(rules) => rules.columns().to_vec(),
            None => F::NAMES.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut golden = Self { columns, rows: Vec::new(), scores: Vec::new(), lines: Vec::new() };
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fails = |reason: String| format!("line {}: {reason}", at + 1);
            let Line { features, score } = serde_json::from_str(line).map_err(|error| fails(error.to_string()))?;
            let values = in_order(features, F::NAMES).map_err(fails)?;
            let cells = values.iter().map(|value| Cell::of(value.as_ref()));
            if let Some(rules) = rules {
                let from = golden.rows.len();
                golden.rows.resize(from + rules.columns().len(), 0.0);
                // They are as old as they were when the model was trained on them, whatever that was.
                let each = |write: &mut dyn FnMut(usize, FeatureCell<'_>, Option<Duration>)| {
                    cells.enumerate().for_each(|(at, cell)| write(at, cell, None));
                };
                let row = golden.rows.get_mut(from..).unwrap_or_default();
                rules.write_cells(row, &mut OddCounts::default(), each).map_err(fails)?;
            } else {
                for (name, cell) in F::NAMES.iter().zip(cells) {
                    let value = match cell {
                        FeatureCell::Missing => f64::NAN,
                        FeatureCell::Number(value) => value,
                        FeatureCell::Text(text) => return Err(fails(format!("{name} is \"{text}\", and no number"))),
                    };
                    golden.rows.push(narrowed(name, value).map_err(fails)?);
                }
            }
            golden.scores.push(score);
            golden.lines.push(at + 1);
        }
        if golden.scores.is_empty() {
            return Err("it has no rows: leave it out, or write some".to_owned());
        }
        Ok(golden)
    }

    /// Scores the rows. An error says which row is the first with another score, and how many have one.
    pub(super) fn check(&self, model: &Model) -> Result<(), String> {
        let source: Arc<dyn ModelSource> = Arc::new(model.clone());
        let mut loaded = Loaded::closed(&source, None);
        let width = self.columns.len();
        let mut wrong: Option<String> = None;
        let mut count = 0;
        for (first, part) in (0..self.scores.len()).step_by(ROWS).zip(self.rows.chunks(ROWS * width)) {
            let rows = part.len() / width;
            let inputs = [Tensor { shape: vec![width], elements: Elements::F32(part.to_vec()) }];
            let mut outputs = outputs_of(model);
            loaded.run(rows, &inputs, &mut outputs).map_err(|error| format!("the model fails on the rows: {error}"))?;
            let [Tensor { elements: Elements::F32(found), .. }] = &outputs[..] else {
                return Err(format!("the scores are not {}", ElementType::F32));
            };
            let columns = found.len() / rows;
            for row in 0..rows {
                let (at, got) = (first + row, f64::from(found[row * columns + model.score_column()]));
                let stated = self.scores[at];
                if is_near(got, stated) {
                    continue;
                }
                count += 1;
                wrong.get_or_insert_with(|| {
                    let cells = self.columns.iter().zip(&part[row * width..]);
                    let cells: Vec<String> = cells.map(|(name, value)| format!("{name}={value}")).collect();
                    let line = self.lines[at];
                    format!("line {line}: the score is {got}, and is stated as {stated}, for {}", cells.join(", "))
                });
            }
        }
        match wrong {
            None => Ok(()),
            Some(first) => Err(format!("{count} of {} rows have other scores; {first}", self.scores.len())),
        }
    }
}

/// Returns the values in the order of the features. Each feature is there, and nothing else.
fn in_order(values: Values, names: &[&str]) -> Result<Vec<Option<Cell>>, String> {
    match values {
        Values::InOrder(values) if values.len() == names.len() => Ok(values),
        Values::InOrder(values) => Err(format!(
            "it has {} values, the program has {} features: {}",
            values.len(),
            names.len(),
            names.join(", ")
        )),
        Values::ByName(mut values) => {
            let taken: Result<Vec<_>, String> = names
                .iter()
                .map(|name| values.remove(*name).ok_or_else(|| format!("it lacks the feature {name}")))
                .collect();
            let taken = taken?;
            match values.keys().next() {
                None => Ok(taken),
                Some(other) => Err(format!("\"{other}\" is no feature of the program: {}", names.join(", "))),
            }
        }
    }
}

fn is_near(got: f64, stated: f64) -> bool {
    (got - stated).abs() <= TOLERANCE * stated.abs().max(1.0)
}
