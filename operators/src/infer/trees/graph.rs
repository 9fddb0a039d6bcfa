//! Finds the forest in an ONNX graph.
//!
//! ```text
//! features ─▶ TreeEnsemble* ─▶ scores, label ─▶ operations on each value ─▶ outputs
//!    └─▶ a tree ─▶ operations on the number of the leaf: folded into the leaves ─┐
//!    └─▶ a tree ─▶ …                                                            ─┴─▶ Sum ─▶ operations on each value
//! ```
//! The second form is skl2onnx's isolation forest: a tree yields the number of its leaf, from which a dozen operations
//! make a path length. All of that depends on the leaf alone, so it is computed once for each leaf.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::element::ElementType;
use super::super::tensor::TensorSpec;
use super::super::wire::Malformed;
use super::finish::{Finish, Transform};
use super::flat::Tree;
use super::forest::{Aggregate, Forest, Leaves, Votes};
use super::known::{Known, Source, Terms, binary, encode, reshape, sum, unary};
use super::onnx::{Ensemble, Labels};

use super::program::{FEATURES_SHA256, Output, Part, Program, Step, split_names};
use super::proto::{Node, Outlet, Proto};
use super::scalar::{Op, Scalar, Unary};

/// Maximum number of features, for which rows are made up.
const MOST_FEATURES: usize = 1 << 16;

/// Reads a model. Returns none, with the reason, where it is no forest that can be walked here.
pub(super) fn read(bytes: &[u8]) -> Result<Program, String> {
    let proto = Proto::read(bytes).map_err(|error| error.to_string())?;
    let [Outlet { name: input, tensor: Some((ElementType::F32, shape)) }] = &proto.inputs[..] else {
        return Err("its input is not a single tensor of f32".to_owned());
    };
    let [None, Some(width)] = shape[..] else {
        return Err("its input is not of the shape [n, width]".to_owned());
    };
    if width > MOST_FEATURES {
        return Err(format!("it has more than {MOST_FEATURES} features"));
    }
    let mut known: HashMap<&str, Known> = HashMap::from([(&**input, Known::Features)]);
    for (name, constant) in &proto.constants {
        known.insert(name, Known::Constant(Rc::new(constant.clone())));
    }
    for node in &proto.nodes {
        for (name, value) in node.outputs.iter().zip(results(node, width, &known).map_err(|error| error.to_string())?) {
            if let Some(value) = value {
                known.insert(name, value);
            }
        }
    }
    program(&proto, width, &known).ok_or_else(|| "its outputs are not those of one forest".to_owned())
}

/// Returns what is known of a node's outputs.
fn results(node: &Node<'_>, width: usize, known: &HashMap<&str, Known>) -> Result<Vec<Option<Known>>, Malformed> {
    let inputs: Option<Vec<&Known>> = node.inputs.iter().map(|name| known.get(&**name)).collect();
    let Some(inputs) = inputs else { return Ok(Vec::new()) };
    if let [Known::Features] = inputs[..] {
        return features(node);
    }
    let first = match (&*node.op, &inputs[..]) {
        ("Constant", []) => node.tensor("value")?.map(|constant| Known::Constant(Rc::new(constant))),
        ("Gather", [Known::Features, Known::Constant(columns)]) => {
            // Isolation forests take all features in their order.
            let all = columns.values.len() == width
                && columns.values.iter().enumerate().all(|(at, column)| *column == Scalar::I64(at as i64));
            (all && node.int("axis")? == Some(1)).then_some(Known::Features)
        }
        ("Identity", [value]) => Some((*value).clone()),
        ("LabelEncoder", [Known::OfLeaf { tree, values, columns }]) => {
            encode(node, values)?.map(|values| Known::OfLeaf { tree: Rc::clone(tree), values, columns: *columns })
        }
        ("Reshape", [value, Known::Constant(shape)]) => reshape(value, &shape.values),
        ("Sum", values) => sum(values),
        ("Max" | "Min", [first, rest @ ..]) => {
            let op = Op::named(&node.op);
            rest.iter().try_fold((*first).clone(), |all, next| binary(op?, &all, next))
        }
        (name, [left, right]) => Op::named(name).and_then(|op| binary(op, left, right)),
        (name, [value]) => Unary::named(name, node.int("to")?).and_then(|op| unary(op, value)),
        _ => None,
    };
    Ok(vec![first])
}

/// Returns what is known of the outputs of a node that takes the features.
fn features(node: &Node<'_>) -> Result<Vec<Option<Known>>, Malformed> {
    if node.op == "Identity" || (node.op == "Cast" && node.int("to")? == Some(1)) {
        return Ok(vec![Some(Known::Features)]);
    }
    let Some(ensemble) = Ensemble::read(node)? else { return Ok(Vec::new()) };
    let ensemble = Rc::new(ensemble);
    let whole = |part, columns| {
        let forest = Source::Ensemble(Rc::clone(&ensemble));
        Some(Known::Result { forest, part, steps: Vec::new(), columns })
    };
    if ensemble.labels != Labels::None {
        return Ok(vec![whole(Part::Label, None), whole(Part::Scores, Some(ensemble.targets))]);
    }
    // What a tree yields is the value of a leaf, unless something follows the sum over trees.
    let is_plain = match &ensemble.finish {
        Finish::Regressor { base, transform, .. } => base.is_empty() && *transform == Transform::None,
        _ => false,
    };
    if let ([_], 1, true) = (&ensemble.trees[..], ensemble.targets, is_plain) {
        let values = ensemble.leaves.iter().filter_map(|leaf| leaf.first().map(|(_, value)| Scalar::F32(*value)));
        let values = values.collect();
        return Ok(vec![Some(Known::OfLeaf { tree: ensemble, values, columns: Some(1) })]);
    }
    Ok(vec![whole(Part::Scores, Some(ensemble.targets))])
}

/// Makes a program of those outputs that are results of one forest.
fn program(proto: &Proto<'_>, width: usize, known: &HashMap<&str, Known>) -> Option<Program> {
    let mut forest: Option<Source> = None;
    let mut outputs = Vec::new();
    for outlet in &proto.outputs {
        let (source, part, steps, columns) = match known.get(&*outlet.name) {
            Some(Known::Result { forest, part, steps, columns }) => (forest.clone(), *part, steps.clone(), *columns),
            Some(Known::Sum { terms, columns }) => {
                (Source::Terms(Rc::clone(terms)), Part::Scores, Vec::new(), *columns)
            }
            // A regressor of a single tree.
            Some(Known::OfLeaf { tree, values, columns }) => {
                let terms = vec![(Rc::clone(tree), values.clone())];
                (Source::Terms(Rc::new(terms)), Part::Scores, Vec::new(), *columns)
            }
            _ => continue,
        };
        if forest.as_ref().is_some_and(|forest| !forest.is(&source)) {
            return None;
        }
        let texts = matches!(&source, Source::Ensemble(ensemble) if matches!(ensemble.labels, Labels::Texts(_)));
        let element = element(part, &steps, texts)?;
        let shape = columns.map(Some);
        let declared = outlet.tensor.as_ref()?;
        let spec = TensorSpec::dynamic(&outlet.name, element, shape);
        // ONNX Runtime refuses nothing here, and the caller expects the shape that it declares.
        let sizes = TensorSpec::dynamic(&outlet.name, declared.0, declared.1.iter().skip(1).copied());
        if !sizes.fits(&spec) {
            continue;
        }
        forest = Some(source);
        outputs.push(Output { spec, part, steps });
    }
    let (forest, labels) = match forest? {
        Source::Ensemble(ensemble) => {
            let forest = Forest::of(width, ensemble.targets, &ensemble.trees, ensemble.votes()?)?;
            (forest, ensemble.labels.clone())
        }
        Source::Terms(terms) => (forest_of(width, &terms)?, Labels::None),
    };
    let input = proto.inputs.first()?.name.clone();
    Some(Program {
        input: TensorSpec::fixed(input, ElementType::F32, [width]),
        outputs,
        labels,
        forest,
        feature_names: proto.metadata.get("feature_names").map(|names| split_names(names)),
        name: proto.metadata.get("model_name").cloned(),
        features_sha256: proto.metadata.get(FEATURES_SHA256).cloned(),
    })
}

/// Returns the type of a part of the results after these operations.
fn element(part: Part, steps: &[Step], texts: bool) -> Option<ElementType> {
    let start = match part {
        Part::Label if texts => return steps.is_empty().then_some(ElementType::Text),
        Part::Label => Scalar::I64(1),
        Part::Scores | Part::Raw => Scalar::F32(1.0),
    };
    match steps.iter().try_fold(start, |value, step| step.of(value))? {
        Scalar::F32(_) => Some(ElementType::F32),
        Scalar::I64(_) => Some(ElementType::I64),
        Scalar::Bool(_) => None,
    }
}

/// Returns the forest whose score is the sum of values of leaves.
fn forest_of(width: usize, terms: &Terms) -> Option<Forest> {
    let (mut trees, mut leaves) = (Vec::new(), Vec::new());
    for (ensemble, values) in terms {
        let [tree] = &ensemble.trees[..] else { return None };
        trees.push(Tree { nodes: tree.nodes.iter().map(|node| node.shifted(leaves.len())).collect() });
        for value in values {
            let Scalar::F32(value) = value else { return None };
            leaves.push(vec![(0, *value)]);
        }
    }
    let votes = Votes::of(&leaves, &trees, 1)?;
    // The first term is not added to anything, and a sum that begins with -0 leaves it as it is.
    let leaves = Leaves::F32 { votes, start: vec![-0.0], aggregate: Aggregate::Sum, finish: Finish::Total };
    Forest::of(width, 1, &trees, leaves)
}
