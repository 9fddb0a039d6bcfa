//! The tree ensembles of ONNX's `ai.onnx.ml`, with the meaning that ONNX Runtime gives them.

use std::collections::HashMap;

use super::super::wire::Malformed;
use super::finish::{Classifier, Finish, Transform};
use super::flat::{Node as TreeNode, Tree};
use super::forest::{Aggregate, Leaves, Votes};
use super::proto::Node;
use super::split::{Rule, Test};

/// A tree ensemble of a graph.
#[derive(Debug)]
pub(super) struct Ensemble {
    pub(super) trees: Vec<Tree>,
    /// The values of leaves, by the leaves' numbers: pairs of target and value.
    pub(super) leaves: Vec<Vec<(usize, f32)>>,
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
    pub(super) finish: Finish,
    pub(super) labels: Labels,
}

/// The labels of a classifier's classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Labels {
    None,
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

impl Ensemble {
    /// Reads an operation; none where it is no ensemble of trees that can be walked here.
    pub(super) fn read(node: &Node<'_>) -> Result<Option<Self>, Malformed> {
        let is_classifier = match &*node.op {
            "TreeEnsembleClassifier" => true,
            "TreeEnsembleRegressor" => false,
            _ => return Ok(None),
        };
        // Doubles are compared as doubles.
        let doubles =
            ["nodes_values_as_tensor", "base_values_as_tensor", "class_weights_as_tensor", "target_weights_as_tensor"];
        if node.domain != "ai.onnx.ml" || doubles.iter().any(|name| node.has(name)) {
            return Ok(None);
        }
        let prefix = if is_classifier { "class" } else { "target" };
        let labels = labels(node)?;
        let targets = match &labels {
            Labels::Numbers(labels) => labels.len(),
            Labels::Texts(labels) => labels.len(),
            Labels::None => usize::try_from(node.int("n_targets")?.unwrap_or(0)).unwrap_or(0),
        };
        if is_classifier == (labels == Labels::None) || targets < if is_classifier { 2 } else { 1 } {
            return Ok(None);
        }
        let Some(nodes) = Nodes::read(node)? else { return Ok(None) };
        let votes = Ballots {
            trees: node.ints(&format!("{prefix}_treeids"))?,
            nodes: node.ints(&format!("{prefix}_nodeids"))?,
            targets: node.ints(&format!("{prefix}_ids"))?,
            values: node.floats(&format!("{prefix}_weights"))?,
        };
        let Some((trees, leaves)) = nodes.trees(&votes, targets) else { return Ok(None) };
        let Some((aggregate, finish)) = finish(node, is_classifier, targets, &votes, trees.len())? else {
            return Ok(None);
        };
        Ok(Some(Self { trees, leaves, targets, aggregate, finish, labels }))
    }

    /// Returns the values that are added, in ONNX Runtime's order: from 0 on.
    pub(super) fn votes(&self) -> Option<Leaves> {
        let votes = Votes::of(&self.leaves, &self.trees, self.targets)?;
        let (aggregate, finish) = (self.aggregate, self.finish.clone());
        Some(Leaves::F32 { votes, start: Vec::new(), aggregate, finish })
    }
}

fn labels(node: &Node<'_>) -> Result<Labels, Malformed> {
    let texts = node.texts("classlabels_strings")?;
    let numbers = node.ints("classlabels_int64s")?;
    Ok(match (texts.is_empty(), numbers.is_empty()) {
        (false, _) => Labels::Texts(texts),
        (true, false) => Labels::Numbers(numbers),
        (true, true) => Labels::None,
    })
}

fn finish(
    node: &Node<'_>,
    is_classifier: bool,
    targets: usize,
    votes: &Ballots,
    trees: usize,
) -> Result<Option<(Aggregate, Finish)>, Malformed> {
    let transform = match node.text("post_transform")?.as_deref() {
        None | Some("NONE") => Transform::None,
        Some("LOGISTIC") => Transform::Logistic,
        Some("SOFTMAX") => Transform::Softmax,
        Some("SOFTMAX_ZERO") => Transform::SoftmaxZero,
        Some("PROBIT") => Transform::Probit,
        Some(_) => return Ok(None),
    };
    let base = node.floats("base_values")?;
    if base.len() > targets {
        return Ok(None);
    }
    if is_classifier {
        let mut classes = votes.targets.clone();
        classes.sort_unstable();
        classes.dedup();
        let one_of_two = targets == 2 && classes.len() == 1;
        let all_positive = votes.values.iter().all(|value| *value >= 0.0);
        // What ONNX Runtime makes of these is not what the standard says, or is an error.
        let is_vague = if targets > 2 {
            !base.is_empty() && base.len() != targets
        } else if one_of_two {
            transform == Transform::Probit
        } else {
            base.len() == 1
        };
        if is_vague {
            return Ok(None);
        }
        let classifier = Classifier { base, transform, one_of_two, all_positive };
        return Ok(Some((Aggregate::Sum, Finish::Classifier(classifier))));
    }
    let (aggregate, average) = match node.text("aggregate_function")?.as_deref() {
        None | Some("SUM") => (Aggregate::Sum, None),
        Some("AVERAGE") => (Aggregate::Sum, Some(trees)),
        Some("MIN") => (Aggregate::Min, None),
        Some("MAX") => (Aggregate::Max, None),
        Some(_) => return Ok(None),
    };
    // For one target, ONNX Runtime leaves these transforms out, against the standard (its issue 26596).
    if targets == 1 && !matches!(transform, Transform::None | Transform::Probit) {
        return Ok(None);
    }
    Ok(Some((aggregate, Finish::Regressor { average, base, transform })))
}

/// The values of leaves, as ONNX stores them.
struct Ballots {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    targets: Vec<i64>,
    values: Vec<f32>,
}

/// The nodes of all trees, as ONNX stores them.
struct Nodes {
    trees: Vec<i64>,
    ids: Vec<i64>,
    features: Vec<i64>,
    /// None for leaves.
    rules: Vec<Option<Rule>>,
    values: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    nan: Vec<i64>,
}

impl Nodes {
    /// Reads the nodes; none where an unknown comparison occurs, or the sizes differ.
    fn read(node: &Node<'_>) -> Result<Option<Self>, Malformed> {
        let mut rules = Vec::new();
        for mode in node.texts("nodes_modes")? {
            rules.push(match &*mode {
                "LEAF" => None,
                "BRANCH_LEQ" => Some(Rule::AtMost),
                "BRANCH_LT" => Some(Rule::Below),
                "BRANCH_GTE" => Some(Rule::AtLeast),
                "BRANCH_GT" => Some(Rule::Above),
                "BRANCH_EQ" => Some(Rule::Equal),
                "BRANCH_NEQ" => Some(Rule::NotEqual),
                _ => return Ok(None),
            });
        }
        let nodes = Self {
            trees: node.ints("nodes_treeids")?,
            ids: node.ints("nodes_nodeids")?,
            features: node.ints("nodes_featureids")?,
            rules,
            values: node.floats("nodes_values")?,
            yes: node.ints("nodes_truenodeids")?,
            no: node.ints("nodes_falsenodeids")?,
            nan: node.ints("nodes_missing_value_tracks_true")?,
        };
        let len = nodes.trees.len();
        let same = [&nodes.ids, &nodes.features, &nodes.yes, &nodes.no].iter().all(|list| list.len() == len);
        let nan_fits = nodes.nan.is_empty() || nodes.nan.len() == len;
        Ok((same && nan_fits && nodes.rules.len() == len && nodes.values.len() == len).then_some(nodes))
    }

    /// Returns the trees, and the votes of their leaves; none where the nodes are no trees.
    #[expect(clippy::type_complexity, reason = "trees, and for each leaf its targets and values")]
    fn trees(&self, votes: &Ballots, targets: usize) -> Option<(Vec<Tree>, Vec<Vec<(usize, f32)>>)> {
        let Ballots { trees: of_trees, nodes, targets: classes, values } = votes;
        if [nodes.len(), classes.len(), values.len()] != [of_trees.len(); 3] {
            return None;
        }
        // For each node, its tree's number and its own number in it. A tree's root is the node that comes first.
        let mut places = HashMap::new();
        let mut trees: Vec<Tree> = Vec::new();
        let mut numbers: HashMap<i64, usize> = HashMap::new();
        for (at, id) in self.trees.iter().zip(&self.ids).enumerate() {
            if at == 0 || self.trees[at - 1] != self.trees[at] {
                // A tree whose nodes are not together would have several roots.
                if numbers.insert(self.trees[at], trees.len()).is_some() {
                    return None;
                }
                trees.push(Tree::default());
            }
            let tree = trees.last_mut()?;
            if places.insert(id, tree.nodes.len()).is_some() {
                return None;
            }
            tree.nodes.push(TreeNode::Leaf(0));
        }
        let mut leaves = Vec::new();
        let mut at = 0;
        for tree in &mut trees {
            for node in &mut tree.nodes {
                let id = self.trees[at];
                *node = match self.rules[at] {
                    Some(rule) => {
                        let child = |child: i64| places.get(&(&id, &child)).copied();
                        let feature = usize::try_from(self.features[at]).ok()?;
                        let nan = self.nan.get(at) == Some(&1);
                        TreeNode::Test {
                            test: Test::compare(feature, rule, self.values[at], nan),
                            yes: child(self.yes[at])?,
                            no: child(self.no[at])?,
                        }
                    }
                    None => {
                        leaves.push(Vec::new());
                        TreeNode::Leaf(leaves.len() - 1)
                    }
                };
                at += 1;
            }
        }
        for (at, id) in of_trees.iter().zip(nodes).enumerate() {
            let node = trees.get(*numbers.get(id.0)?)?.nodes.get(*places.get(&id)?)?;
            // As in ONNX Runtime, votes at inner nodes do not count: old converters wrote them.
            if let TreeNode::Leaf(leaf) = node {
                let target = usize::try_from(classes[at]).ok().filter(|target| *target < targets)?;
                leaves.get_mut(*leaf)?.push((target, values[at]));
            }
        }
        // ONNX Runtime refuses a leaf without a vote, and of several for the one target it takes the first.
        let fits = |leaf: &Vec<_>| if targets == 1 { leaf.len() == 1 } else { !leaf.is_empty() };
        (!trees.is_empty() && leaves.iter().all(fits)).then_some((trees, leaves))
    }
}
