//! The layout in which trees are walked (walk.rs).
//!
//! ```text
//! cells of a tree, breadth first:  0 │ 1 2 │ 3 4 5 6 │ …     the children of a node lie side by side: (no, yes)
//! a cell: key, column, first child                           next = first child + (keys[column] <= key)
//! a leaf: the key below all keys, and itself as first child  it stays where it is, however often it is walked
//! ```
//! The trees lie one behind the other, in their order.

use std::collections::HashMap;

use super::split::{Column, Test};
use super::walk::{Cell, KEYS, LANES, MOST_CELLS, NARROW, Span, WINDOWS, large, wide, windowed};

/// A tree before it is laid out. The root is node 0.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) enum Node {
    Test {
        test: Test,
        yes: usize,
        no: usize,
    },
    /// The number of the leaf, by which its value is found.
    Leaf(usize),
}

impl Node {
    /// Returns the node with numbers of leaves that are higher by `leaves`.
    pub(super) fn shifted(&self, leaves: usize) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf + leaves),
            Self::Test { test, yes, no } => Self::Test { test: test.clone(), yes: *yes, no: *no },
        }
    }
}

impl Tree {
    /// Returns the numbers of the leaves.
    pub(super) fn leaves(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Leaf(leaf) => Some(*leaf),
            Node::Test { .. } => None,
        })
    }
}

/// Trees, laid out.
#[derive(Debug)]
pub(super) struct Flat {
    pub(super) columns: Vec<Column>,
    cells: Vec<Cell>,
    spans: Vec<Span>,
    /// For each cell, its leaf.
    leaves: Vec<u32>,
    /// The columns of all cells, where there are more than a cell can name.
    wide: Vec<u32>,
}

/// The keys of sixteen rows, column after column.
#[derive(Debug)]
pub(super) struct Keys(Vec<i32>);

impl Flat {
    /// Lays out trees. Returns none for a tree with a cycle or a missing node, or one that is too large.
    pub(super) fn of(trees: &[Tree]) -> Option<Self> {
        let mut places: HashMap<&Column, u32> = HashMap::new();
        let mut columns = Vec::new();
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Test { test, .. } = node {
                places.entry(&test.column).or_insert_with(|| {
                    columns.push(test.column.clone());
                    columns.len() as u32 - 1
                });
            }
        }
        let is_wide = columns.len() > NARROW;
        let mut flat = Self { columns, cells: Vec::new(), spans: Vec::new(), leaves: Vec::new(), wide: Vec::new() };
        for tree in trees {
            flat.add(tree, |column| places.get(column).copied(), is_wide)?;
        }
        // Behind the last tree there is room for its window.
        let end = flat.cells.len() + WINDOWS.last()?;
        flat.cells.resize(end, Cell::leaf(0));
        Some(flat)
    }

    fn add(&mut self, tree: &Tree, place: impl Fn(&Column) -> Option<u32>, is_wide: bool) -> Option<()> {
        // A node that several others lead to is repeated. Where that goes too far, or round in a circle, it ends here.
        let most = (tree.nodes.len().saturating_mul(4).saturating_add(LANES)).min(MOST_CELLS);
        let start = self.cells.len();
        let mut order = vec![(0, 0)];
        let mut at = 0;
        while let Some((node, depth)) = order.get(at).copied() {
            let (cell, column, leaf) = match tree.nodes.get(node)? {
                Node::Leaf(leaf) => (Cell::leaf(at), 0, u32::try_from(*leaf).ok()?),
                Node::Test { test, yes, no } => {
                    let column = place(&test.column)?;
                    let children = if test.inverted { [*yes, *no] } else { [*no, *yes] };
                    let cell = Cell::inner(test.key, order.len(), column as usize % NARROW);
                    order.extend(children.map(|child| (child, depth + 1)));
                    (cell, column, 0)
                }
            };
            if order.len() > most {
                return None;
            }
            self.cells.push(cell);
            self.leaves.push(leaf);
            self.wide.extend(is_wide.then_some(column));
            at += 1;
        }
        let depth = order.last()?.1;
        self.spans.push(Span { start, len: order.len(), depth });
        Some(())
    }

    pub(super) fn thresholds(&self) -> impl Iterator<Item = (usize, f32)> {
        self.cells.iter().enumerate().filter(|(_, cell)| cell.key != i32::MIN).filter_map(|(at, cell)| {
            let column = self.wide.get(at).map_or(cell.keys() / LANES, |column| *column as usize);
            let column = self.columns.get(column)?;
            Some((column.feature, column.threshold(cell.key)))
        })
    }

    pub(super) fn trees(&self) -> usize {
        self.spans.len()
    }

    /// Returns for each cell the number of its leaf; of no meaning for inner nodes.
    pub(super) fn leaves(&self) -> &[u32] {
        &self.leaves
    }

    /// Calls `to` for each tree, in order, with its number, its first cell, and for each row how far behind that its
    /// leaf lies. Up to `N` rows are walked.
    #[inline(always)]
    pub(super) fn walk<const N: usize>(&self, keys: &Keys, mut to: impl FnMut(usize, usize, &[u32; N])) {
        let narrow = keys.0.first_chunk::<KEYS>().filter(|_| self.wide.is_empty());
        for (tree, span) in self.spans.iter().enumerate() {
            let cells = self.cells.get(span.start..).unwrap_or_default();
            let at = match narrow {
                Some(keys) if span.len <= WINDOWS[0] => windowed::<64, N>(cells, span, keys),
                Some(keys) if span.len <= WINDOWS[1] => windowed::<256, N>(cells, span, keys),
                Some(keys) if span.len <= WINDOWS[2] => windowed::<1024, N>(cells, span, keys),
                Some(keys) if span.len <= WINDOWS[3] => windowed::<4096, N>(cells, span, keys),
                Some(keys) => large(cells, span, keys),
                None => wide(cells, self.wide.get(span.start..).unwrap_or_default(), span, &keys.0),
            };
            to(tree, span.start, &at);
        }
    }
}

impl Keys {
    /// Creates the keys for trees with these columns.
    pub(super) fn of(columns: &[Column]) -> Self {
        Self(vec![0; columns.len().max(NARROW) * LANES])
    }

    /// Fills the keys for up to sixteen rows of `width` features. The places of rows that are not there keep what they
    /// had.
    pub(super) fn fill(&mut self, columns: &[Column], rows: &[f32], width: usize) {
        for (column, keys) in columns.iter().zip(self.0.as_chunks_mut::<LANES>().0) {
            column.keys(rows, width, keys);
        }
    }
}
