//! `/api/v1/graph`: the operators, the streams between them, and where they are drawn. It does not change while the
//! job runs.

use serde::Serialize;

use crate::http::layout::layout;
use crate::http::shown::Shown;

#[derive(Serialize)]
pub(in crate::http) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Serialize)]
struct Node {
    id: usize,
    name: String,
    kind: String,
    workers: usize,
    column: usize,
    row: usize,
}

#[derive(Serialize)]
struct Edge {
    from: usize,
    to: usize,
    exchange: bool,
    dead_letters: bool,
}

/// Returns the graph; without nodes while it is being built.
pub(in crate::http) fn graph(shown: &Shown) -> Graph {
    let Some(topology) = shown.watched.process.topology.get() else {
        return Graph { nodes: Vec::new(), edges: Vec::new() };
    };
    let nodes = topology.nodes.iter().zip(layout(topology)).enumerate().map(|(id, (node, place))| Node {
        id,
        name: node.name.clone(),
        kind: node.kind.clone(),
        workers: shown.watched.workers,
        column: place.column,
        row: place.row,
    });
    let edges = topology.edges.iter().map(|edge| Edge {
        from: edge.from,
        to: edge.to,
        exchange: edge.exchange,
        dead_letters: edge.dead_letters,
    });
    Graph { nodes: nodes.collect(), edges: edges.collect() }
}
