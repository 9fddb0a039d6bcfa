//! Which operator the others wait for.
//!
//! The rule: walk the graph from the sinks to the sources. The first operator that is busy for at least half of the
//! time, while what feeds it is held back for at least a tenth of the time, is the bottleneck; these wait for it. If
//! nobody waits, a source that is itself busy for at least half of the time is the bottleneck.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use crate::metrics::Topology;

/// Share of the time from which on an operator is busy.
const BUSY: f64 = 0.5;
/// Share of the time from which on an operator is held back.
const HELD_BACK: f64 = 0.1;

/// How an operator spent the last seconds: shares of the time of its slowest worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) busy: f64,
    pub(super) backpressured: f64,
    pub(super) workers: usize,
}

/// The bottleneck of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    pub(super) operator: String,
    pub(super) sentence: String,
    pub(super) waiting: Vec<String>,
}

/// Returns the bottleneck, given the load of each node.
pub(super) fn cause(topology: &Topology, loads: &[Load]) -> Option<Cause> {
    let load = |node: usize| loads.get(node).copied().unwrap_or_default();
    let order = from_the_sinks(topology);
    let held_back = |node: &usize| load(*node).backpressured >= HELD_BACK;
    for node in &order {
        let waiting: Vec<usize> = upstream(topology, *node).into_iter().filter(held_back).collect();
        if load(*node).busy >= BUSY && !waiting.is_empty() {
            return Some(named(topology, *node, load(*node), &waiting));
        }
    }
    let nobody_waits = !order.iter().any(held_back);
    let is_source = |node: &&usize| topology.edges.iter().all(|edge| edge.to != **node);
    let busy = |node: &&usize| load(**node).busy >= BUSY;
    let slow = order.iter().filter(is_source).find(busy).filter(|_| nobody_waits)?;
    Some(named(topology, *slow, load(*slow), &[]))
}

fn named(topology: &Topology, node: usize, load: Load, waiting: &[usize]) -> Cause {
    let name = |node: usize| topology.nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
    let (operator, waiting): (_, Vec<String>) = (name(node), waiting.iter().map(|node| name(*node)).collect());
    let (busy, workers) = (load.busy.min(1.0) * 100.0, load.workers);
    let plural = if workers == 1 { "" } else { "s" };
    let waits = match &waiting[..] {
        [] => "nothing holds it back".to_owned(),
        [one] => format!("`{one}` waits for it"),
        several => format!("`{}` wait for it", several.join("`, `")),
    };
    let sentence = format!("`{operator}` is the bottleneck (busy {busy:.0} %, {workers} worker{plural}); {waits}");
    Cause { operator, sentence, waiting }
}

/// Returns the nodes from the sinks to the sources, each after everything that it sends to.
fn from_the_sinks(topology: &Topology) -> Vec<usize> {
    let mut open = vec![0_usize; topology.nodes.len()];
    topology.edges.iter().for_each(|edge| open[edge.from] += 1);
    let mut next: VecDeque<usize> = (0..open.len()).filter(|node| open[*node] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = next.pop_front() {
        order.push(node);
        for edge in topology.edges.iter().filter(|edge| edge.to == node) {
            open[edge.from] -= 1;
            if open[edge.from] == 0 {
                next.push_back(edge.from);
            }
        }
    }
    order
}

/// Returns all nodes whose records reach `node`. Not only its neighbours: an operator between it and the source that
/// is held back only does as it is told.
fn upstream(topology: &Topology, node: usize) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![node]);
    while let Some(node) = open.pop() {
        for edge in topology.edges.iter().filter(|edge| edge.to == node && !edge.dead_letters) {
            if found.insert(edge.from) {
                open.push(edge.from);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{TopologyEdge, TopologyNode};

    /// Two sources, features, a model, and two sinks, one of them for dead letters of the features.
    fn graph() -> Topology {
        let names = ["transactions", "chargebacks", "features", "score", "alerts", "letters"];
        let node = |name: &str| TopologyNode { name: name.to_owned(), kind: "any".to_owned() };
        let edge = |(from, to): (usize, usize)| TopologyEdge { from, to, exchange: false, dead_letters: to == 5 };
        let edges = [(0, 2), (1, 2), (2, 3), (2, 5), (3, 4)].map(edge).to_vec();
        Topology { nodes: names.map(node).to_vec(), edges }
    }

    /// The loads of the six, each as busy and held back in percent.
    fn loads(of: [(u32, u32); 6]) -> Vec<Load> {
        let share = |percent: u32| f64::from(percent) / 100.0;
        of.map(|(busy, held)| Load { busy: share(busy), backpressured: share(held), workers: 2 }).to_vec()
    }

    fn bottleneck(of: [(u32, u32); 6]) -> Option<(String, Vec<String>)> {
        cause(&graph(), &loads(of)).map(|cause| (cause.operator, cause.waiting))
    }

    #[test]
    fn a_slow_model() {
        let loads = loads([(5, 90), (1, 40), (20, 0), (97, 0), (2, 0), (0, 0)]);
        let cause = cause(&graph(), &loads).unwrap();
        let sentence = "`score` is the bottleneck (busy 97 %, 2 workers); `transactions`, `chargebacks` wait for it";
        assert_eq!((&*cause.operator, &*cause.sentence), ("score", sentence));
    }

    #[test]
    fn a_slow_sink() {
        let found = bottleneck([(5, 90), (0, 0), (60, 0), (55, 20), (80, 0), (0, 0)]);
        let waiting = vec!["transactions".to_owned(), "score".to_owned()];
        assert_eq!(found, Some(("alerts".to_owned(), waiting)));
    }

    #[test]
    fn one_worker_of_a_skewed_key_is_enough() {
        let found = bottleneck([(5, 60), (5, 60), (99, 0), (10, 0), (2, 0), (0, 0)]);
        assert_eq!(found.map(|(name, _)| name), Some("features".to_owned()));
    }

    #[test]
    fn a_slow_source_that_nothing_holds_back() {
        let loads = loads([(70, 0), (1, 0), (20, 0), (5, 0), (2, 0), (0, 0)]);
        let cause = cause(&graph(), &loads).unwrap();
        let sentence = "`transactions` is the bottleneck (busy 70 %, 2 workers); nothing holds it back";
        assert_eq!((&*cause.sentence, cause.waiting.len()), (sentence, 0));
    }

    #[test]
    fn no_bottleneck_while_nobody_is_busy_or_nobody_waits() {
        assert_eq!(bottleneck([(5, 0), (1, 0), (20, 0), (49, 0), (2, 0), (0, 0)]), None);
        assert_eq!(bottleneck([(5, 0), (1, 0), (20, 0), (97, 0), (2, 0), (0, 0)]), None);
        assert_eq!(bottleneck([(5, 90), (1, 0), (20, 0), (49, 0), (2, 0), (0, 0)]), None);
    }

    #[test]
    fn a_sink_of_dead_letters_holds_up_nobody_else() {
        let found = bottleneck([(5, 90), (1, 0), (20, 0), (97, 0), (2, 0), (60, 0)]);
        assert_eq!(found.map(|(name, _)| name), Some("score".to_owned()));
    }

    #[test]
    fn nothing_is_known_of_an_empty_graph() {
        assert_eq!(cause(&Topology::default(), &[]), None);
    }
}
