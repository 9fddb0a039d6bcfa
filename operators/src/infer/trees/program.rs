//! A forest with the outputs of its model, as a backend.

use std::sync::Arc;

use super::super::backend::{Backend, RunError};
use super::super::element::{ElementType, Elements};
use super::super::tensor::{Tensor, TensorSpec};
use super::finish::Label;
use super::forest::{Forest, Scores};
use super::onnx::Labels;
use super::sample;
use super::scalar::{Op, Scalar, Unary};

/// Splits the list of names that is written into a model.
pub(in super::super) fn split_names(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

/// A model that is a forest.
#[derive(Debug)]
pub(in super::super) struct Program {
    pub(super) input: TensorSpec,
    /// The outputs that can be computed here.
    pub(super) outputs: Vec<Output>,
    pub(super) labels: Labels,
    pub(super) forest: Forest,
    /// The names of the features, if the model has them.
    pub(super) feature_names: Option<Vec<String>>,
    /// The name that the model has for itself.
    pub(super) name: Option<String>,
    /// The SHA-256 of its `features.json`, if it was exported with one.
    pub(super) features_sha256: Option<String>,
}

/// The key of a model's metadata with the SHA-256 of its `features.json`.
pub(in super::super) const FEATURES_SHA256: &str = "tidemill.features";
/// Maximum number of features of all rows that are made up.
const MOST_CELLS: usize = 1 << 22;

#[derive(Debug)]
pub(super) struct Output {
    pub(super) spec: TensorSpec,
    pub(super) part: Part,
    pub(super) steps: Vec<Step>,
}

/// A part of what a forest yields for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Scores,
    /// The scores before the transform.
    Raw,
    Label,
}

/// An operation on a single value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    One(Unary),
    Two { op: Op, constant: Scalar, constant_first: bool },
}

impl Step {
    pub(super) fn of(self, value: Scalar) -> Option<Scalar> {
        match self {
            Self::One(op) => op.of(value),
            Self::Two { op, constant, constant_first: true } => op.of(constant, value),
            Self::Two { op, constant, constant_first: false } => op.of(value, constant),
        }
    }
}

impl Program {
    /// Returns the program of a file of XGBoost or LightGBM: what the library predicts, and the sums before the link.
    pub(super) fn of_library(forest: Forest, feature_names: Option<Vec<String>>) -> Self {
        let shape = |columns: usize| (columns > 1).then_some(columns);
        let output = |name, part, columns| {
            let spec = TensorSpec::fixed(name, ElementType::F32, shape(columns));
            Output { spec, part, steps: Vec::new() }
        };
        Self {
            input: TensorSpec::fixed("features", ElementType::F32, [forest.width]),
            outputs: vec![
                output("prediction", Part::Scores, forest.columns()),
                output("raw", Part::Raw, forest.targets),
            ],
            labels: Labels::None,
            forest,
            feature_names,
            name: None,
            features_sha256: None,
        }
    }

    pub(in super::super) fn input(&self) -> &TensorSpec {
        &self.input
    }

    pub(in super::super) fn feature_names(&self) -> Option<&[String]> {
        self.feature_names.as_deref()
    }

    pub(in super::super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(in super::super) fn features_sha256(&self) -> Option<&str> {
        self.features_sha256.as_deref()
    }

    /// Returns rows for comparisons: thresholds of the trees and their neighbours, extremes and missing values. They
    /// are the same at each call.
    pub(in super::super) fn rows(&self, rows: usize) -> Tensor {
        Tensor { shape: vec![self.forest.width], elements: Elements::F32(sample::rows(&self.forest, rows)) }
    }

    /// Returns up to that many batches of such rows, all different. Of very wide rows there are fewer.
    pub(in super::super) fn batches(&self, batches: usize, rows: usize) -> Vec<Tensor> {
        let batches = batches.min((MOST_CELLS / (rows * self.forest.width)).max(1));
        let cells = sample::rows(&self.forest, batches * rows);
        let batch = |cells: &[f32]| Tensor { shape: vec![self.forest.width], elements: Elements::F32(cells.to_vec()) };
        cells.chunks(rows * self.forest.width).map(batch).collect()
    }

    /// Returns the number of trees.
    pub(in super::super) fn trees(&self) -> usize {
        self.forest.trees()
    }

    pub(in super::super) fn outputs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.outputs.iter().map(|output| &output.spec)
    }

    /// Returns a backend that fills these outputs; none where one of them is not known here.
    pub(in super::super) fn backend(self: &Arc<Self>, outputs: &[TensorSpec]) -> Option<TreesBackend> {
        let place = |wanted: &TensorSpec| {
            let same = |output: &Output| output.spec.name == wanted.name && output.spec.fits(wanted);
            self.outputs.iter().position(same)
        };
        let places = outputs.iter().map(place).collect::<Option<Vec<_>>>()?;
        Some(TreesBackend { scores: self.forest.scores(), program: Arc::clone(self), outputs: places })
    }
}

/// A forest that one thread walks.
pub(in super::super) struct TreesBackend {
    program: Arc<Program>,
    /// For each output of the caller, its place in the program.
    outputs: Vec<usize>,
    scores: Scores,
}

impl Backend for TreesBackend {
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let forest = &self.program.forest;
        let Some(Elements::F32(cells)) = inputs.first().map(|input| &input.elements) else {
            return Err(RunError::Unavailable("the program does not give the features of the model".to_owned()));
        };
        if rows.checked_mul(forest.width) != Some(cells.len()) {
            let (len, width) = (cells.len(), forest.width);
            return Err(RunError::Batch(format!("{len} values are not {rows} rows of {width} features")));
        }
        forest.run(cells, &mut self.scores);
        for (place, to) in self.outputs.iter().zip(outputs) {
            let Some(output) = self.program.outputs.get(*place) else { continue };
            output
                .fill(&self.program.labels, &self.scores, to)
                .ok_or_else(|| RunError::Batch(format!("a row has no value of \"{}\"", output.spec.name)))?;
        }
        Ok(())
    }
}

impl Output {
    /// Fills a tensor; none where an operation is not defined for a value.
    fn fill(&self, labels: &Labels, scores: &Scores, to: &mut Tensor) -> Option<()> {
        to.shape.clear();
        to.shape.extend(self.spec.shape.iter().flatten());
        to.elements.clear();
        let values = match self.part {
            Part::Scores => &scores.scores,
            Part::Raw => &scores.raw,
            Part::Label => return self.fill_labels(labels, &scores.labels, to),
        };
        match &mut to.elements {
            Elements::F32(to) if self.steps.is_empty() => to.extend_from_slice(values),
            Elements::F32(to) => {
                for value in values {
                    let Scalar::F32(value) = self.of(Scalar::F32(*value))? else { return None };
                    to.push(value);
                }
            }
            Elements::I64(to) => {
                for value in values {
                    let Scalar::I64(value) = self.of(Scalar::F32(*value))? else { return None };
                    to.push(value);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn fill_labels(&self, labels: &Labels, found: &[Label], to: &mut Tensor) -> Option<()> {
        match (labels, &mut to.elements) {
            (Labels::Numbers(numbers), Elements::I64(to)) => {
                for label in found {
                    let number = match label {
                        Label::Class(class) => *numbers.get(*class)?,
                        Label::Number(number) => *number,
                    };
                    let Scalar::I64(number) = self.of(Scalar::I64(number))? else { return None };
                    to.push(number);
                }
            }
            (Labels::Texts(texts), Elements::Text(to)) => {
                for label in found {
                    let class = match label {
                        Label::Class(class) => *class,
                        Label::Number(number) => usize::try_from(*number).ok()?,
                    };
                    to.push(texts.get(class)?.clone());
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn of(&self, value: Scalar) -> Option<Scalar> {
        self.steps.iter().try_fold(value, |value, step| step.of(value))
    }
}
