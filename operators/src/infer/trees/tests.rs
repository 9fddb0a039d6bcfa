//! Forests against a walk that follows the nodes one by one, and files that are no forests.

use proptest::prelude::*;

use super::super::wire::Message;
use super::finish::{Finish, Label};
use super::flat::{Node, Tree};
use super::forest::{Aggregate, Forest, Leaves, Votes};
use super::split::{Rule, Test};

/// A node as the naive walk has it.
#[derive(Clone, Debug)]
enum Naive {
    Leaf(Vec<(usize, f32)>),
    Split { feature: usize, rule: Rule, threshold: f32, nan: bool, yes: Box<Naive>, no: Box<Naive> },
}

impl Naive {
    fn votes(&self, row: &[f32]) -> &[(usize, f32)] {
        match self {
            Self::Leaf(votes) => votes,
            Self::Split { feature, rule, threshold, nan, yes, no } => {
                let value = row[*feature];
                let holds = match rule {
                    Rule::AtMost => value <= *threshold,
                    Rule::Below => value < *threshold,
                    Rule::AtLeast => value >= *threshold,
                    Rule::Above => value > *threshold,
                    Rule::Equal => value == *threshold,
                    Rule::NotEqual => value != *threshold,
                };
                if holds || (*nan && value.is_nan()) { yes.votes(row) } else { no.votes(row) }
            }
        }
    }

    fn lay(&self, tree: &mut Tree, leaves: &mut Vec<Vec<(usize, f32)>>) -> usize {
        let place = tree.nodes.len();
        match self {
            Self::Leaf(votes) => {
                tree.nodes.push(Node::Leaf(leaves.len()));
                leaves.push(votes.clone());
            }
            Self::Split { feature, rule, threshold, nan, yes, no } => {
                tree.nodes.push(Node::Leaf(0));
                let (yes, no) = (yes.lay(tree, leaves), no.lay(tree, leaves));
                tree.nodes[place] = Node::Test { test: Test::compare(*feature, *rule, *threshold, *nan), yes, no };
            }
        }
        place
    }
}

const WIDTH: usize = 5;
const TARGETS: usize = 3;

fn float() -> impl Strategy<Value = f32> {
    let special = [0.0, -0.0, 1e-45, -1e-45, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    prop_oneof![3 => (-4_i8..4).prop_map(f32::from), 1 => proptest::sample::select(special.to_vec()), 1 => any::<f32>()]
}

fn tree(single: bool) -> impl Strategy<Value = Naive> {
    let rules = [Rule::AtMost, Rule::Below, Rule::AtLeast, Rule::Above, Rule::Equal, Rule::NotEqual];
    let votes = if single { 1..2_usize } else { 1..4 };
    let leaf =
        prop::collection::vec((0..if single { 1 } else { TARGETS }, -100.0_f32..100.0), votes).prop_map(Naive::Leaf);
    leaf.prop_recursive(14, 80, 2, move |inner| {
        (0..WIDTH, proptest::sample::select(rules.to_vec()), float(), any::<bool>(), inner.clone(), inner).prop_map(
            |(feature, rule, threshold, nan, yes, no)| {
                let (yes, no) = (Box::new(yes), Box::new(no));
                Naive::Split { feature, rule, threshold, nan, yes, no }
            },
        )
    })
}

fn forest(naive: &[Naive], aggregate: Aggregate) -> Forest {
    let (mut trees, mut leaves) = (Vec::new(), Vec::new());
    for naive in naive {
        let mut tree = Tree::default();
        naive.lay(&mut tree, &mut leaves);
        trees.push(tree);
    }
    let votes = Votes::of(&leaves, &trees, TARGETS).unwrap();
    let leaves = Leaves::F32 { votes, start: Vec::new(), aggregate, finish: Finish::Total };
    Forest::of(WIDTH, TARGETS, &trees, leaves).unwrap()
}

fn expected(naive: &[Naive], aggregate: Aggregate, row: &[f32]) -> Vec<f32> {
    let mut totals = vec![None; TARGETS];
    for (target, value) in naive.iter().flat_map(|tree| tree.votes(row)) {
        let total: &mut Option<f32> = &mut totals[*target];
        *total = Some(match (*total, aggregate) {
            (None, Aggregate::Sum) => 0.0 + value,
            (None, _) => *value,
            (Some(total), Aggregate::Sum) => total + value,
            (Some(total), Aggregate::Min) => total.min(*value),
            (Some(total), Aggregate::Max) => total.max(*value),
        });
    }
    totals.into_iter().map(Option::unwrap_or_default).collect()
}

proptest! {
    #[test]
    fn a_forest_gives_what_a_walk_from_node_to_node_gives(
        trees in any::<bool>().prop_flat_map(|single| prop::collection::vec(tree(single), 1..12)),
        rows in prop::collection::vec(prop::collection::vec(float(), WIDTH), 1..40),
        aggregate in proptest::sample::select(vec![Aggregate::Sum, Aggregate::Min, Aggregate::Max]),
    ) {
        let forest = forest(&trees, aggregate);
        let mut scores = forest.scores();
        // A second run finds nothing of the first.
        for rows in [&rows[..], &rows[rows.len() / 2..]] {
            forest.run(&rows.concat(), &mut scores);
            let wanted: Vec<f32> = rows.iter().flat_map(|row| expected(&trees, aggregate, row)).collect();
            prop_assert_eq!(&scores.scores, &wanted);
            prop_assert_eq!(scores.labels.len(), rows.len());
        }
        prop_assert_eq!(scores.labels.first(), Some(&Label::Class(0)));
    }
}

fn leaf(votes: usize) -> Node {
    Node::Leaf(votes)
}

fn test(feature: usize, yes: usize, no: usize) -> Node {
    Node::Test { test: Test::compare(feature, Rule::Below, 0.0, false), yes, no }
}

fn of_one_tree(nodes: Vec<Node>, leaves: usize) -> Option<Forest> {
    let trees = [Tree { nodes }];
    let leaves: Vec<_> = (0..leaves).map(|leaf| vec![(0, leaf as f32)]).collect();
    let votes = Votes::of(&leaves, &trees, 1)?;
    let leaves = Leaves::F32 { votes, start: Vec::new(), aggregate: Aggregate::Sum, finish: Finish::Total };
    Forest::of(2, 1, &trees, leaves)
}

#[test]
fn what_is_no_tree_is_refused() {
    assert!(of_one_tree(vec![test(0, 1, 2), leaf(0), leaf(1)], 2).is_some());
    assert!(of_one_tree(vec![test(0, 0, 1), leaf(0)], 1).is_none(), "a node that leads to itself");
    assert!(of_one_tree(vec![test(0, 1, 2), test(0, 0, 2), leaf(0)], 1).is_none(), "a circle");
    assert!(of_one_tree(vec![test(0, 1, 7), leaf(0)], 1).is_none(), "a node that is not there");
    assert!(of_one_tree(vec![test(2, 1, 2), leaf(0), leaf(1)], 2).is_none(), "a feature that is not there");
    assert!(of_one_tree(vec![], 0).is_none(), "no node");
    assert!(of_one_tree(vec![leaf(3)], 1).is_none(), "a leaf without a value");
}

/// A node that two nodes lead to (issue 24636 of ONNX Runtime: sets of categories are written like that).
#[test]
fn a_node_may_have_two_parents() {
    let forest = of_one_tree(vec![test(0, 1, 2), leaf(0), test(1, 1, 3), leaf(1)], 2).unwrap();
    let mut scores = forest.scores();
    forest.run(&[-1.0, 1.0, 1.0, -1.0, 1.0, 1.0], &mut scores);
    assert_eq!(scores.scores, [0.0, 0.0, 1.0]);
}

/// Large trees, which no window holds, and more columns than a byte can name.
#[test]
fn a_large_forest_is_walked_too() {
    for (features, depth) in [(2, 13), (400, 9)] {
        let (mut nodes, inner) = (Vec::new(), (1 << depth) - 1);
        for at in 0..inner {
            let test = Test::compare(at % features, Rule::Below, (at % 7) as f32, false);
            nodes.push(Node::Test { test, yes: 2 * at + 1, no: 2 * at + 2 });
        }
        nodes.extend((0..=inner).map(Node::Leaf));
        let leaves: Vec<_> = (0..=inner).map(|leaf| vec![(0, leaf as f32)]).collect();
        let trees = [Tree { nodes }];
        let votes = Votes::of(&leaves, &trees, 1).unwrap();
        let leaves = Leaves::F32 { votes, start: Vec::new(), aggregate: Aggregate::Sum, finish: Finish::Total };
        let forest = Forest::of(features, 1, &trees, leaves).unwrap();
        let rows: Vec<f32> = (0..50 * features).map(|at| (at * 31 % 11) as f32 - 2.0).collect();
        let mut scores = forest.scores();
        forest.run(&rows, &mut scores);
        for (row, score) in rows.chunks(features).zip(&scores.scores) {
            let mut at = 0;
            while at < inner {
                at = if row[at % features] < (at % 7) as f32 { 2 * at + 1 } else { 2 * at + 2 };
            }
            assert_eq!(*score, (at - inner) as f32);
        }
    }
}

/// Returns models of the repository; none where the crate is built without it.
fn models() -> Vec<Vec<u8>> {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = [
        "models/fraud_velocity.onnx",
        "models/content_recommendation.onnx",
        "models/iot_window.onnx",
        "tests/infer/trees/lightgbm_categories.txt",
        "tests/infer/trees/xgboost_categories.json",
    ];
    names.iter().filter_map(|name| std::fs::read(repository.join(name)).ok()).collect()
}

#[test]
fn the_models_of_the_repository_are_forests() {
    let trees: Vec<usize> = models().iter().map(|model| super::read(model).unwrap().trees()).collect();
    assert!(trees == [100, 80, 50, 3, 3] || trees.is_empty(), "{trees:?}");
}

/// A file that was changed anywhere is refused or is another forest; it never causes a panic or an endless loop.
#[test]
fn a_damaged_model_is_refused_or_scores() {
    let mut state = 3_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for model in models() {
        for round in 0..150 {
            let mut damaged = model.clone();
            for _ in 0..=round % 4 {
                let (at, byte) = (next(damaged.len()), next(256) as u8);
                match round % 3 {
                    0 => damaged[at] = byte,
                    1 => damaged[at] ^= 1 << (byte % 8),
                    _ => damaged.truncate(damaged.len() - next(damaged.len() / 8)),
                }
            }
            match super::read(&damaged) {
                Err(_) => refused += 1,
                Ok(program) => {
                    let rows = program.rows(20);
                    let super::super::element::Elements::F32(rows) = rows.elements else { continue };
                    program.forest.run(&rows, &mut program.forest.scores());
                    read += 1;
                }
            }
        }
    }
    assert!(read + refused == 0 || (read > 20 && refused > 20), "{read} were read, {refused} refused");
}

/// An ONNX file of one regressor with a single leaf, with these sizes.
fn onnx(width: i64, targets: i64, op: &str) -> Vec<u8> {
    let message = Message::default;
    let ints = |name: &str, values: &[i64]| message().text(1, name).ints(8, values.iter().copied());
    let floats = |name: &str| message().text(1, name).bytes(7, &1.5_f32.to_le_bytes());
    let mut node = message().text(1, "x").text(2, "y").text(4, op).text(7, "ai.onnx.ml");
    let lists = ["nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"];
    for name in lists.into_iter().chain(["target_treeids", "target_nodeids", "target_ids"]) {
        node = node.message(5, ints(name, &[0]));
    }
    node = node.message(5, floats("nodes_values")).message(5, floats("target_weights"));
    node = node.message(5, message().text(1, "nodes_modes").text(9, "LEAF"));
    node = node.message(5, message().text(1, "n_targets").int(3, targets));
    let outlet = |name: &str, size: i64| {
        let shape = message().message(1, message().text(2, "n")).message(1, message().int(1, size));
        message().text(1, name).message(2, message().message(1, message().int(1, 1).message(2, shape)))
    };
    let graph = message().message(1, node).message(11, outlet("x", width)).message(12, outlet("y", targets));
    message().int(1, 8).message(7, graph).finish().to_vec()
}

#[test]
fn sizes_that_no_model_has_are_refused() {
    let program = super::read(&onnx(3, 1, "TreeEnsembleRegressor")).unwrap();
    let mut scores = program.forest.scores();
    program.forest.run(&[0.0; 6], &mut scores);
    assert_eq!(scores.scores, [1.5, 1.5]);
    for (width, targets, op) in [
        (1 << 40, 1, "TreeEnsembleRegressor"),
        (3, 1 << 40, "TreeEnsembleRegressor"),
        (3, -1, "TreeEnsembleRegressor"),
        (-3, 1, "TreeEnsembleRegressor"),
        (3, 1, "TreeEnsemble"),
    ] {
        assert!(super::read(&onnx(width, targets, op)).is_err(), "{width} {targets} {op}");
    }
}
