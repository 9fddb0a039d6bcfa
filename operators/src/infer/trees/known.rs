//! What is known of the values of a graph, and what operations make of it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::super::wire::Malformed;
use super::onnx::Ensemble;
use super::program::{Part, Step};
use super::proto::{Constant, Node};
use super::scalar::{Op, Scalar, Unary};

/// What is known of a value of the graph.
#[derive(Clone)]
pub(super) enum Known {
    /// All features, as they are.
    Features,
    Constant(Rc<Constant>),
    /// For each leaf of a single tree, a value.
    OfLeaf {
        tree: Rc<Ensemble>,
        values: Vec<Scalar>,
        columns: Option<usize>,
    },
    /// A sum over trees of values of their leaves, in order.
    Sum {
        terms: Rc<Terms>,
        columns: Option<usize>,
    },
    /// A result of a forest, and the operations that follow on each of its values.
    Result {
        forest: Source,
        part: Part,
        steps: Vec<Step>,
        columns: Option<usize>,
    },
}

#[derive(Clone)]
pub(super) enum Source {
    Ensemble(Rc<Ensemble>),
    Terms(Rc<Terms>),
}

impl Source {
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ensemble(one), Self::Ensemble(other)) => Rc::ptr_eq(one, other),
            (Self::Terms(one), Self::Terms(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// Applies a LabelEncoder, which maps numbers to others.
pub(super) fn encode(node: &Node<'_>, values: &[Scalar]) -> Result<Option<Vec<Scalar>>, Malformed> {
    let floats = |name| node.floats(name).map(|values| values.into_iter().map(Scalar::F32).collect::<Vec<_>>());
    let ints = |name| node.ints(name).map(|values| values.into_iter().map(Scalar::I64).collect::<Vec<_>>());
    let keys = [floats("keys_floats")?, ints("keys_int64s")?].concat();
    let mapped = [floats("values_floats")?, ints("values_int64s")?].concat();
    let is_nan = |key: &Scalar| matches!(key, Scalar::F32(key) if key.is_nan());
    let different: HashSet<_> = keys.iter().map(key_of).collect();
    if keys.is_empty() || keys.len() != mapped.len() || different.len() != keys.len() || keys.iter().any(is_nan) {
        return Ok(None);
    }
    let default = match mapped.first() {
        Some(Scalar::F32(_)) => Scalar::F32(node.float("default_float")?.unwrap_or(-0.0)),
        _ => Scalar::I64(node.int("default_int64")?.unwrap_or(-1)),
    };
    let places: HashMap<(bool, u64), Scalar> = keys.iter().map(key_of).zip(mapped.iter().copied()).collect();
    let of = |value: &Scalar| places.get(&key_of(value)).copied().unwrap_or(default);
    Ok(Some(values.iter().map(of).collect()))
}

/// Returns a key that is the same for equal numbers.
fn key_of(value: &Scalar) -> (bool, u64) {
    match value {
        // Both zeros are equal.
        Scalar::F32(value) => (true, (value + 0.0).to_bits().into()),
        Scalar::I64(value) => (false, value.cast_unsigned()),
        Scalar::Bool(value) => (false, u64::from(*value)),
    }
}

/// Reshapes a value to a column (`[-1, 1]`) or to a list (`[-1]`).
pub(super) fn reshape(value: &Known, shape: &[Scalar]) -> Option<Known> {
    let to = match shape {
        [Scalar::I64(-1), Scalar::I64(1)] => Some(1),
        [Scalar::I64(-1)] => None,
        _ => return None,
    };
    let mut value = value.clone();
    match &mut value {
        Known::OfLeaf { columns, .. } | Known::Sum { columns, .. } | Known::Result { columns, .. }
            if columns.unwrap_or(1) == 1 =>
        {
            *columns = to;
        }
        _ => return None,
    }
    Some(value)
}

pub(super) fn unary(op: Unary, value: &Known) -> Option<Known> {
    let each = |values: &[Scalar]| values.iter().map(|value| op.of(*value)).collect::<Option<Vec<_>>>();
    match value {
        Known::Features => None,
        Known::Constant(constant) => {
            Some(Known::Constant(Rc::new(Constant { rank: constant.rank, values: each(&constant.values)? })))
        }
        Known::OfLeaf { tree, values, columns } => {
            Some(Known::OfLeaf { tree: Rc::clone(tree), values: each(values)?, columns: *columns })
        }
        Known::Sum { .. } | Known::Result { .. } => then(value, Step::One(op)),
    }
}

/// Appends an operation on each value of a result.
fn then(value: &Known, step: Step) -> Option<Known> {
    let (forest, part, mut steps, columns) = match value {
        Known::Sum { terms, columns } => (Source::Terms(Rc::clone(terms)), Part::Scores, Vec::new(), *columns),
        Known::Result { forest, part, steps, columns } => (forest.clone(), *part, steps.clone(), *columns),
        _ => return None,
    };
    steps.push(step);
    Some(Known::Result { forest, part, steps, columns })
}

pub(super) fn binary(op: Op, left: &Known, right: &Known) -> Option<Known> {
    match (left, right) {
        (
            Known::OfLeaf { tree: one, values, columns },
            Known::OfLeaf { tree: other, values: others, columns: also },
        ) if Rc::ptr_eq(one, other) && columns == also => {
            let values = values.iter().zip(others).map(|(left, right)| op.of(*left, *right)).collect::<Option<_>>()?;
            Some(Known::OfLeaf { tree: Rc::clone(one), values, columns: *columns })
        }
        (value, Known::Constant(constant)) => with_constant(op, value, constant, false),
        (Known::Constant(constant), value) => with_constant(op, value, constant, true),
        _ if op == Op::Add => {
            let ((mut terms, columns), (more, also)) = (terms(left)?, terms(right)?);
            // A sum of sums would be added in another order.
            if more.len() != 1 || columns != also {
                return None;
            }
            terms.extend(more);
            Some(Known::Sum { terms: Rc::new(terms), columns })
        }
        _ => None,
    }
}

/// Applies an operation to a value and a constant, which is one number.
fn with_constant(op: Op, value: &Known, constant: &Constant, constant_first: bool) -> Option<Known> {
    let [number] = constant.values[..] else { return None };
    let of = |value: Scalar| if constant_first { op.of(number, value) } else { op.of(value, number) };
    let each = |values: &[Scalar]| values.iter().map(|value| of(*value)).collect::<Option<Vec<_>>>();
    let rank = |columns: &Option<usize>| if columns.is_some() { 2 } else { 1 };
    match value {
        Known::OfLeaf { tree, values, columns } if constant.rank <= rank(columns) => {
            Some(Known::OfLeaf { tree: Rc::clone(tree), values: each(values)?, columns: *columns })
        }
        Known::Sum { columns, .. } | Known::Result { columns, .. } if constant.rank <= rank(columns) => {
            then(value, Step::Two { op, constant: number, constant_first })
        }
        Known::Constant(other) => {
            let rank = other.rank.max(constant.rank);
            Some(Known::Constant(Rc::new(Constant { rank, values: each(&other.values)? })))
        }
        _ => None,
    }
}

/// Trees with the values of their leaves.
pub(super) type Terms = Vec<(Rc<Ensemble>, Vec<Scalar>)>;

/// Adds values, from left to right.
pub(super) fn sum(values: &[&Known]) -> Option<Known> {
    of_different_trees(values).or_else(|| {
        let (first, rest) = values.split_first()?;
        rest.iter().try_fold((*first).clone(), |all, next| binary(Op::Add, &all, next))
    })
}

/// Adds values of leaves of as many trees, all at once: one by one, the time would grow with the square of their number.
fn of_different_trees(values: &[&Known]) -> Option<Known> {
    let (mut terms, mut trees, mut shape) = (Terms::with_capacity(values.len()), HashSet::new(), None);
    for value in values {
        let Known::OfLeaf { tree, values, columns } = value else { return None };
        if *shape.get_or_insert(*columns) != *columns || !trees.insert(Rc::as_ptr(tree)) {
            return None;
        }
        terms.push((Rc::clone(tree), values.clone()));
    }
    Some(Known::Sum { terms: Rc::new(terms), columns: shape? })
}

fn terms(value: &Known) -> Option<(Terms, Option<usize>)> {
    match value {
        Known::OfLeaf { tree, values, columns } => Some((vec![(Rc::clone(tree), values.clone())], *columns)),
        Known::Sum { terms, columns } => Some(((**terms).clone(), *columns)),
        _ => None,
    }
}
