//! Models in XGBoost's JSON format (`Booster.save_model("model.json")`), of version 1.0 and later.

use serde::Deserialize;
use serde_json::Value;

use super::finish::{Finish, Link};
use super::flat::{Node, Tree};
use super::forest::{Aggregate, Forest, Leaves, MOST_TARGETS, Votes};
use super::program::Program;
use super::split::{Rule, Test};

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Parameters,
    objective: Objective,
}

#[derive(Default, Deserialize)]
struct Attributes {
    best_iteration: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Parameters {
    /// A number, or since 3.1 a list of numbers, as text.
    base_score: Value,
    num_class: Value,
    num_feature: Value,
    num_target: Option<Value>,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    model: Option<Trees>,
    /// The trees of DART, and their weights.
    gbtree: Option<Dart>,
    #[serde(default)]
    weight_drop: Vec<f32>,
}

#[derive(Deserialize)]
struct Dart {
    model: Trees,
}

#[derive(Deserialize)]
struct Trees {
    /// For each tree, its class.
    tree_info: Vec<usize>,
    trees: Vec<TreeOf>,
    gbtree_model_param: GbTree,
}

#[derive(Deserialize)]
struct GbTree {
    num_parallel_tree: Option<Value>,
}

#[derive(Deserialize)]
struct TreeOf {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    categories: Vec<u32>,
    #[serde(default)]
    categories_nodes: Vec<i64>,
    #[serde(default)]
    categories_segments: Vec<usize>,
    #[serde(default)]
    categories_sizes: Vec<usize>,
    tree_param: Option<TreeParameters>,
}

#[derive(Deserialize)]
struct TreeParameters {
    size_leaf_vector: Option<Value>,
}

/// Versions before 1.5 write `true`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

/// Reads a model. Returns the reason where it cannot be used.
pub(super) fn read(json: &[u8]) -> Result<Program, String> {
    let File { learner } =
        serde_json::from_slice(json).map_err(|error| format!("it is no model of XGBoost: {error}"))?;
    let parameters = &learner.learner_model_param;
    let width = whole(&parameters.num_feature, "num_feature")?;
    let classes = whole(&parameters.num_class, "num_class")?;
    let outputs = parameters.num_target.as_ref().map_or(Ok(1), |targets| whole(targets, "num_target"))?;
    let targets = classes.max(outputs).max(1);
    if targets > MOST_TARGETS {
        return Err(format!("it has more than {MOST_TARGETS} classes"));
    }
    let Booster { name, model, gbtree, weight_drop } = learner.gradient_booster;
    let (model, weights) = match (&*name, model, gbtree) {
        ("gbtree", Some(model), _) => (model, Vec::new()),
        ("dart", _, Some(dart)) => (dart.model, weight_drop),
        _ => return Err(format!("its booster \"{name}\" is not one of trees")),
    };
    let count = match learner.attributes.best_iteration {
        None => model.trees.len(),
        // As XGBoost's classes for scikit-learn do, trees after the best iteration are left out.
        Some(best) => {
            let best: usize = best.parse().map_err(|_| format!("its best_iteration is {best}"))?;
            let parallel =
                model.gbtree_model_param.num_parallel_tree.as_ref().map_or(Ok(1), |n| whole(n, "num_parallel_tree"))?;
            best.saturating_add(1).saturating_mul(targets).saturating_mul(parallel.max(1)).min(model.trees.len())
        }
    };
    let (mut trees, mut leaves) = (Vec::new(), Vec::new());
    for (at, tree) in model.trees.iter().take(count).enumerate() {
        let target = model.tree_info.get(at).copied().ok_or("tree_info is too short")?;
        let weight = weights.get(at).copied().unwrap_or(1.0);
        trees.push(tree.read(target, weight, &mut leaves).map_err(|reason| format!("tree {at}: {reason}"))?);
    }
    let (link, start) = link(&learner.objective.name)?;
    let base = numbers(&parameters.base_score)?;
    let base = base.into_iter().map(start);
    let start: Vec<f32> = base.clone().cycle().take(if base.len() == 1 { targets } else { base.len() }).collect();
    let no_forest = "its trees do not fit each other or the features";
    let votes = Votes::of(&leaves, &trees, targets).ok_or(no_forest)?;
    let leaves = Leaves::F32 { votes, start, aggregate: Aggregate::Sum, finish: Finish::XgBoost(link) };
    let forest = Forest::of(width, targets, &trees, leaves).ok_or(no_forest)?;
    let names = learner.feature_names;
    Ok(Program::of_library(forest, (names.len() == width).then_some(names)))
}

/// Reads a number, which is written as text.
fn whole(value: &Value, name: &str) -> Result<usize, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|_| format!("{name} is {text}"))
}

/// Reads `base_score`: `5E-1`, or `[5E-1,2E-1]`.
fn numbers(value: &Value) -> Result<Vec<f32>, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let numbers: Option<Vec<f32>> =
        text.trim_matches(['[', ']']).split(',').map(|number| number.trim().parse().ok()).collect();
    numbers.ok_or_else(|| format!("base_score is {text}"))
}

/// Makes the beginning of the sum out of `base_score`.
type Start = fn(f32) -> f32;

/// Returns what follows the sum for an objective, and what makes the beginning of the sum out of `base_score`.
fn link(objective: &str) -> Result<(Link, Start), String> {
    let same: Start = |base| base;
    let logit: Start = |base| -(1.0 / base - 1.0).ln();
    Ok(match objective {
        "reg:squarederror"
        | "reg:linear"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Link::Identity, same),
        "binary:logistic" | "reg:logistic" => (Link::Logistic(1.0), logit),
        "binary:logitraw" => (Link::Identity, same),
        "binary:hinge" => (Link::Hinge, same),
        "multi:softprob" => (Link::Softmax, same),
        "multi:softmax" => (Link::ArgMax, same),
        "count:poisson" | "reg:gamma" | "reg:tweedie" => (Link::Exp, f32::ln),
        _ => return Err(format!("its objective \"{objective}\" is not known")),
    })
}

impl TreeOf {
    fn read(&self, target: usize, weight: f32, leaves: &mut Vec<Vec<(usize, f32)>>) -> Result<Tree, String> {
        let len = self.left_children.len();
        let sizes =
            [self.right_children.len(), self.split_indices.len(), self.split_conditions.len(), self.default_left.len()];
        if sizes != [len; 4] || (!self.split_type.is_empty() && self.split_type.len() != len) {
            return Err("its lists have several sizes".to_owned());
        }
        let vector = self.tree_param.as_ref().and_then(|parameters| parameters.size_leaf_vector.as_ref());
        if vector.map_or(Ok(1), |size| whole(size, "size_leaf_vector"))? > 1 {
            return Err("its leaves have vectors (multi_output_tree), which are not supported".to_owned());
        }
        let mut nodes = Vec::with_capacity(len);
        for at in 0..len {
            let (Ok(left), Ok(right)) =
                (usize::try_from(self.left_children[at]), usize::try_from(self.right_children[at]))
            else {
                nodes.push(Node::Leaf(leaves.len()));
                leaves.push(vec![(target, weight * self.split_conditions[at])]);
                continue;
            };
            let default_left = matches!(self.default_left[at], Flag::Bool(true) | Flag::Number(1..));
            let feature = self.split_indices[at];
            nodes.push(if self.split_type.get(at) == Some(&1) {
                // The categories of a node go to the right.
                let test = Test::one_of(feature, self.categories_of(at)?, !default_left);
                Node::Test { test, yes: right, no: left }
            } else {
                let test = Test::compare(feature, Rule::Below, self.split_conditions[at], default_left);
                Node::Test { test, yes: left, no: right }
            });
        }
        Ok(Tree { nodes })
    }

    /// Returns the categories of a node as bits.
    fn categories_of(&self, node: usize) -> Result<Vec<u32>, String> {
        let place = self.categories_nodes.iter().position(|found| usize::try_from(*found) == Ok(node));
        let range = place.and_then(|place| {
            let from = *self.categories_segments.get(place)?;
            self.categories.get(from..from.checked_add(*self.categories_sizes.get(place)?)?)
        });
        let categories = range.ok_or_else(|| format!("node {node} has no categories"))?;
        let most = categories.iter().max().copied().unwrap_or(0) as usize;
        // XGBoost itself has at most 2^24: the integers that all are f32s.
        if most >= 1 << 24 {
            return Err(format!("{most} is no category"));
        }
        let mut bits = vec![0; most / 32 + 1];
        categories.iter().for_each(|category| bits[*category as usize / 32] |= 1 << (category % 32));
        Ok(bits)
    }
}
