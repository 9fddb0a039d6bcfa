//! Models in LightGBM's text format (`Booster.save_model`).
//!
//! Thresholds and values of leaves are doubles. A feature is an f32, so `feature <= threshold` holds for the double
//! exactly where it holds for the largest f32 that is not above it.

use std::collections::HashMap;

use super::finish::Link;
use super::flat::{Node, Tree};
use super::forest::{Forest, Leaves, Votes};
use super::program::Program;
use super::split::{Column, Kind, Nan, Test, ordered};

/// The bits of `decision_type`.
const CATEGORICAL: u32 = 1;
const DEFAULT_LEFT: u32 = 2;

/// The lines `key=value` of a section.
type Section<'a> = HashMap<&'a str, &'a str>;

/// Reads a model. Returns the reason where it cannot be used.
pub(super) fn read(text: &str) -> Result<Program, String> {
    let (model, _) = text.split_once("\nend of trees").ok_or("the file ends before \"end of trees\"")?;
    let mut sections = model.split("\nTree=");
    let header = section(sections.next().unwrap_or_default());
    let width = number::<usize>(&header, "max_feature_idx")?.checked_add(1).ok_or("max_feature_idx is too large")?;
    let targets: usize = number(&header, "num_tree_per_iteration")?;
    let (mut trees, mut leaves) = (Vec::new(), Vec::new());
    for (at, tree) in sections.enumerate() {
        let target = at.checked_rem(targets).ok_or("num_tree_per_iteration is 0")?;
        let tree = tree_of(&section(tree), target, &mut leaves).map_err(|reason| format!("tree {at}: {reason}"))?;
        trees.push(tree);
    }
    let iterations = trees.len().checked_div(targets).unwrap_or(0);
    let divisor = if model.lines().any(|line| line == "average_output") { iterations.max(1) as f64 } else { 1.0 };
    let link = link(header.get("objective").copied().unwrap_or("none"))?;
    let no_forest = "its trees do not fit each other or the features";
    let votes = Votes::of(&leaves, &trees, targets).ok_or(no_forest)?;
    let forest = Forest::of(width, targets, &trees, Leaves::F64 { votes, divisor, link }).ok_or(no_forest)?;
    let names: Vec<String> =
        header.get("feature_names").map(|names| names.split(' ').map(str::to_owned).collect()).unwrap_or_default();
    // LightGBM makes names up where the data has none.
    let made_up = names.iter().enumerate().all(|(at, name)| *name == format!("Column_{at}"));
    Ok(Program::of_library(forest, (!made_up && names.len() == width).then_some(names)))
}

fn section(text: &str) -> Section<'_> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

fn number<T: std::str::FromStr>(section: &Section<'_>, key: &str) -> Result<T, String> {
    let text = section.get(key).ok_or_else(|| format!("{key} is missing"))?;
    text.trim().parse().map_err(|_| format!("{key} is {text}"))
}

fn list<T: std::str::FromStr>(section: &Section<'_>, key: &str, len: usize) -> Result<Vec<T>, String> {
    let text = section.get(key).copied().unwrap_or_default();
    let list: Option<Vec<T>> = text.split_ascii_whitespace().map(|number| number.parse().ok()).collect();
    list.filter(|list| list.len() == len).ok_or_else(|| format!("{key} is not a list of {len} numbers"))
}

/// Reads a tree, whose inner nodes have numbers from 0 on, and whose leaves have the complements of numbers from 0 on.
fn tree_of(tree: &Section<'_>, target: usize, leaves: &mut Vec<Vec<(usize, f64)>>) -> Result<Tree, String> {
    let count: usize = number(tree, "num_leaves")?;
    if tree.get("is_linear").is_some_and(|value| value.trim() != "0") {
        return Err("its leaves have linear models (linear_tree), which are not supported".to_owned());
    }
    let first = leaves.len();
    leaves.extend(list::<f64>(tree, "leaf_value", count)?.into_iter().map(|value| vec![(target, value)]));
    let inner = count.checked_sub(1).ok_or("it has no leaves")?;
    let features: Vec<usize> = list(tree, "split_feature", inner)?;
    let thresholds: Vec<f64> = list(tree, "threshold", inner)?;
    let decisions: Vec<u32> = list(tree, "decision_type", inner)?;
    let left: Vec<i64> = list(tree, "left_child", inner)?;
    let right: Vec<i64> = list(tree, "right_child", inner)?;
    // A child that is not there is found when the tree is laid out.
    let place =
        |child: i64| usize::try_from(if child < 0 { inner as i64 - 1 - child } else { child }).unwrap_or(usize::MAX);
    let mut nodes = Vec::with_capacity(inner + count);
    for at in 0..inner {
        let test = if decisions[at] & CATEGORICAL == 0 {
            compare(features[at], thresholds[at], decisions[at])?
        } else {
            Test::one_of(features[at], categories(tree, thresholds[at])?, false)
        };
        nodes.push(Node::Test { test, yes: place(left[at]), no: place(right[at]) });
    }
    nodes.extend((0..count).map(|leaf| Node::Leaf(first + leaf)));
    Ok(Tree { nodes })
}

fn compare(feature: usize, threshold: f64, decision: u32) -> Result<Test, String> {
    let low = decision & DEFAULT_LEFT != 0;
    let kind = match decision >> 2 & 3 {
        // What is missing is a zero.
        0 => Kind::Ordered(Nan::Zero),
        1 => Kind::ZeroMissing { low },
        2 => Kind::Ordered(if low { Nan::Low } else { Nan::High }),
        other => return Err(format!("its type of missing values is {other}")),
    };
    let nearest = threshold as f32;
    let below = if f64::from(nearest) > threshold { nearest.next_down() } else { nearest };
    if below.is_nan() {
        return Err("a threshold is NaN".to_owned());
    }
    Ok(Test { column: Column { feature, kind }, key: ordered(below), inverted: false })
}

/// Returns the set of categories that go to the left, whose number stands where other splits have the threshold.
fn categories(tree: &Section<'_>, number_of_set: f64) -> Result<Vec<u32>, String> {
    let sets: usize = number(tree, "num_cat")?;
    let bounds: Vec<usize> = list(tree, "cat_boundaries", sets.saturating_add(1))?;
    let words: Vec<u32> = list(tree, "cat_threshold", bounds.last().copied().unwrap_or(0))?;
    let set = number_of_set as usize;
    let range = bounds.get(set).zip(bounds.get(set.saturating_add(1)));
    let words = range.and_then(|(from, until)| words.get(*from..*until));
    words.map(<[u32]>::to_vec).ok_or_else(|| format!("it has no categories of number {set}"))
}

/// Returns what follows the sum for an objective, such as `binary sigmoid:1`.
fn link(objective: &str) -> Result<Link, String> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("none");
    let options: Vec<&str> = words.collect();
    let sigmoid = options.iter().find_map(|option| option.strip_prefix("sigmoid:")?.parse().ok()).unwrap_or(1.0);
    Ok(match name {
        "regression" if options.contains(&"sqrt") => Link::Square,
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank" | "rank_xendcg"
        | "none" | "custom" => Link::Identity,
        "poisson" | "gamma" | "tweedie" => Link::Exp,
        "binary" | "multiclassova" => Link::Logistic(sigmoid),
        "cross_entropy" => Link::Logistic(1.0),
        "cross_entropy_lambda" => Link::Log1pExp,
        "multiclass" => Link::Softmax,
        _ => return Err(format!("its objective \"{objective}\" is not known")),
    })
}
