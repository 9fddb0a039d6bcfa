//! The operators of a job and the streams between them, as the page shows them.

use std::collections::{BTreeMap, BTreeSet};

/// The graph of a job. It is the same on each worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// The operators, in the order in which they were built.
    pub(crate) nodes: Vec<TopologyNode>,
    /// The streams between them, each once.
    pub(crate) edges: Vec<TopologyEdge>,
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopologyNode {
    pub(crate) name: String,
    pub(crate) kind: String,
}

/// A stream between two operators, which are given by their place among the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopologyEdge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether records change the worker on their way.
    pub(crate) exchange: bool,
    /// Whether it carries the dead letters of the operator it comes from.
    pub(crate) dead_letters: bool,
}

/// What was recorded while a worker built its graph. Operators are given by numbers; some of them only pass records
/// on and are none of the job's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wiring {
    names: BTreeMap<usize, String>,
    edges: Vec<TopologyEdge>,
}

impl Wiring {
    /// Records an operator of the job.
    pub(crate) fn operator(&mut self, at: usize, name: &str) {
        self.names.insert(at, name.to_owned());
    }

    /// Records a stream from operator `from` to operator `to`.
    pub(crate) fn edge(&mut self, from: usize, to: usize, exchange: bool, dead_letters: bool) {
        self.edges.push(TopologyEdge { from, to, exchange, dead_letters });
    }

    /// Returns the graph of the operators in `known`, each given by name and kind. What lies between two of them
    /// becomes one edge.
    pub(crate) fn topology(&self, known: impl IntoIterator<Item = (String, String)>) -> Topology {
        let mut nodes: Vec<TopologyNode> = known.into_iter().map(|(name, kind)| TopologyNode { name, kind }).collect();
        let built: BTreeSet<&String> = self.names.values().collect();
        nodes.retain(|node| built.contains(&node.name));
        let at: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (&*node.name, at)).collect();
        let visible = |number: usize| self.names.get(&number).and_then(|name| at.get(&**name)).copied();
        let mut edges = BTreeSet::new();
        for (number, from) in self.names.keys().filter_map(|number| Some((*number, visible(*number)?))) {
            // Walks on from operators that only pass records on.
            let begin = TopologyEdge { from: number, to: number, exchange: false, dead_letters: false };
            let (mut reached, mut ways) = (BTreeSet::new(), vec![begin]);
            while let Some(way) = ways.pop() {
                for edge in self.edges.iter().filter(|edge| edge.from == way.to) {
                    let exchange = way.exchange || edge.exchange;
                    let next = TopologyEdge { exchange, dead_letters: way.dead_letters || edge.dead_letters, ..*edge };
                    match visible(edge.to) {
                        Some(to) => _ = edges.insert(TopologyEdge { from, to, ..next }),
                        None if reached.insert(next) => ways.push(next),
                        None => {}
                    }
                }
            }
        }
        Topology { nodes, edges: edges.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_passes_records_on_is_no_node() {
        let mut wiring = Wiring::default();
        for (at, name) in [(0, "left"), (1, "right"), (5, "sink"), (6, "letters")] {
            wiring.operator(at, name);
        }
        // Both go through a union (3) and a probe (4); dead letters of both through a union (7).
        for (from, to, exchange) in [(0, 3, false), (1, 3, false), (3, 4, false), (4, 5, true)] {
            wiring.edge(from, to, exchange, false);
        }
        for (from, to, dead_letters) in [(0, 7, true), (1, 7, true), (7, 6, false)] {
            wiring.edge(from, to, false, dead_letters);
        }
        let known = ["left", "right", "sink", "letters", "of another graph"];
        let topology = wiring.topology(known.map(|name| (name.to_owned(), "kind".to_owned())));
        assert_eq!(topology.nodes.len(), 4, "{topology:?}");
        let edge = |from, to, exchange, dead_letters| TopologyEdge { from, to, exchange, dead_letters };
        let expected =
            [edge(0, 2, true, false), edge(0, 3, false, true), edge(1, 2, true, false), edge(1, 3, false, true)];
        assert_eq!(topology.edges, expected);
    }

    #[test]
    fn a_circle_of_passers_on_ends() {
        let mut wiring = Wiring::default();
        wiring.operator(0, "a");
        for (from, to) in [(0, 1), (1, 2), (2, 1)] {
            wiring.edge(from, to, false, false);
        }
        assert_eq!(wiring.topology([("a".to_owned(), "map".to_owned())]).edges, []);
    }
}
