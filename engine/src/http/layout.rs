//! Where the operators are drawn: in columns from left to right, so that streams go to the right.
//!
//! The column of an operator is the length of the longest way to it (longest-path layering). Within a column, operators
//! are ordered by the mean place of their neighbours, in a few sweeps to and fro, which avoids most crossings
//! (barycentre heuristic of Sugiyama, Tagawa and Toda, 1981).

use std::collections::BTreeMap;

use crate::metrics::Topology;

/// Number of sweeps; the order rarely changes after the first few.
const SWEEPS: usize = 8;

/// The place of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) column: usize,
    pub(super) row: usize,
}

/// Returns the place of each node.
pub(super) fn layout(topology: &Topology) -> Vec<Place> {
    let columns = columns(topology);
    let mut rows = vec![0; columns.len()];
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    columns.iter().enumerate().for_each(|(node, column)| members.entry(*column).or_default().push(node));
    let number = |members: &[usize], rows: &mut Vec<usize>| {
        members.iter().enumerate().for_each(|(row, node)| rows[*node] = row);
    };
    members.values().for_each(|members| number(members, &mut rows));
    for sweep in 0..SWEEPS {
        // To the right by what comes in, to the left by what goes out.
        let rightward = sweep % 2 == 0;
        let mut order: Vec<&mut Vec<usize>> = members.values_mut().collect();
        if !rightward {
            order.reverse();
        }
        for members in order {
            members
                .sort_by(|a, b| mean(topology, *a, rightward, &rows).total_cmp(&mean(topology, *b, rightward, &rows)));
            number(members, &mut rows);
        }
    }
    columns.into_iter().zip(rows).map(|(column, row)| Place { column, row }).collect()
}

/// Returns the length of the longest way to each node.
fn columns(topology: &Topology) -> Vec<usize> {
    let mut columns = vec![0; topology.nodes.len()];
    // A graph of streams has no circles; with one, the bound ends this.
    for _ in 0..topology.nodes.len() {
        let mut changed = false;
        for edge in &topology.edges {
            let least = columns[edge.from] + 1;
            if columns[edge.to] < least && least < columns.len() {
                columns[edge.to] = least;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    columns
}

/// Returns the mean row of the neighbours of a node on one side; its own row if it has none there.
fn mean(topology: &Topology, node: usize, incoming: bool, rows: &[usize]) -> f64 {
    let neighbour = |(from, to): (usize, usize)| match incoming {
        true => (to == node).then_some(from),
        false => (from == node).then_some(to),
    };
    let neighbours = topology.edges.iter().filter_map(|edge| neighbour((edge.from, edge.to)));
    let (sum, count) = neighbours.fold((0, 0), |(sum, count), neighbour| (sum + rows[neighbour], count + 1));
    if count == 0 { rows[node] as f64 } else { sum as f64 / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{TopologyEdge, TopologyNode};

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Topology {
        let node = |at: usize| TopologyNode { name: at.to_string(), kind: "map".to_owned() };
        let edge =
            |(from, to): &(usize, usize)| TopologyEdge { from: *from, to: *to, exchange: false, dead_letters: false };
        Topology { nodes: (0..nodes).map(node).collect(), edges: edges.iter().map(edge).collect() }
    }

    fn crossings(topology: &Topology, places: &[Place]) -> usize {
        let ends: Vec<(Place, Place)> =
            topology.edges.iter().map(|edge| (places[edge.from], places[edge.to])).collect();
        let crosses = |a: &(Place, Place), b: &(Place, Place)| {
            a.0.column == b.0.column && a.1.column == b.1.column && a.0.row < b.0.row && a.1.row > b.1.row
        };
        ends.iter().flat_map(|a| ends.iter().filter(move |b| crosses(a, b))).count()
    }

    #[test]
    fn streams_go_to_the_right_along_the_longest_way() {
        let places = layout(&graph(5, &[(0, 1), (1, 2), (0, 2), (3, 2), (2, 4)]));
        assert_eq!(places.iter().map(|place| place.column).collect::<Vec<_>>(), [0, 1, 2, 0, 3]);
    }

    #[test]
    fn no_two_operators_have_one_place() {
        let topology = graph(7, &[(0, 3), (1, 3), (2, 4), (3, 5), (4, 5), (4, 6)]);
        let mut places: Vec<_> = layout(&topology).iter().map(|place| (place.column, place.row)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 7);
    }

    #[test]
    fn crossed_streams_are_uncrossed() {
        let topology = graph(6, &[(0, 5), (1, 4), (2, 3)]);
        assert_eq!(crossings(&topology, &layout(&topology)), 0);
    }

    #[test]
    fn a_circle_and_nothing_at_all_have_a_layout() {
        assert_eq!(layout(&graph(2, &[(0, 1), (1, 0)])).len(), 2);
        assert_eq!(layout(&graph(0, &[])), []);
    }
}
