//! The layout in which trees are walked, sixteen rows at a time.
//!
//! ```text
//! cells of a tree, breadth first:  0 │ 1 2 │ 3 4 5 6 │ …     the children of a node lie side by side: (no, yes)
//! a cell: key, column, first child                           next = first child + (keys[column] <= key)
//! a leaf: the key below all keys, and itself as first child  it stays where it is, however often it is walked
//! ```
//! A step has no branch, and the sixteen rows do not depend on each other, so the processor works on many at a time. All
//! rows of a batch go through one tree before the next, which stays in the nearest cache. The keys of the rows lie by
//! column, so that a row is a constant offset.
//!
//! Index checks took a third of the time. They go away where the compiler sees that an index fits: the keys are a table of
//! 256 columns, and a tree lies in a window of a power of two, to which its indices are cut. Instructions for 256 or 512
//! bits bring nothing: their gathers are slower than single loads where this was measured (AMD Zen 5).

use std::collections::HashMap;

use super::split::{Column, Test};

/// Number of rows that are walked at a time.
pub(super) const LANES: usize = 16;
/// Number of columns that a cell can name.
const NARROW: usize = 256;
/// Number of keys that a cell can name.
const KEYS: usize = NARROW * LANES;
/// Number of rows whose places in a tree stay in registers. More take longer.
const HALF: usize = LANES / 2;
/// The windows in which the index check goes away; larger trees are walked with it.
const WINDOWS: [usize; 4] = [64, 256, 1024, 4096];
/// Number of levels after which it is looked whether all rows have reached leaves.
const LEVELS: usize = 4;
/// Number of rows that are walked at a time where there are no more: what is left of a batch.
pub(super) const FEW: usize = 4;
/// Number of levels that all rows go down together.
const TOP: usize = 2;
/// Maximum number of levels that are walked without looking.
const SHALLOW: usize = 10;
/// Number of bits of a cell beside its first child: the place of its column among the keys.
const COLUMN_BITS: u32 = KEYS.trailing_zeros();
/// Maximum number of cells of a tree: what the other bits can name.
const MOST_CELLS: usize = 1 << (u32::BITS - COLUMN_BITS);

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

#[derive(Clone, Copy, Debug)]
struct Cell {
    key: i32,
    /// The first child, and in the lowest bits where the keys of the column begin.
    packed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    len: usize,
    depth: usize,
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

    /// Calls `to` for each tree, in order, with its number, its first cell, and for each row how far behind that its leaf
    /// lies. Up to `N` rows are walked.
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

impl Cell {
    fn leaf(at: usize) -> Self {
        Self::inner(i32::MIN, at, 0)
    }

    fn inner(key: i32, child: usize, column: usize) -> Self {
        Self { key, packed: (child as u32) << COLUMN_BITS | (column * LANES) as u32 }
    }

    /// Returns where the keys of the column begin.
    #[inline(always)]
    fn keys(self) -> usize {
        self.packed as usize & (KEYS - LANES)
    }

    #[inline(always)]
    fn next(self, key: i32) -> u32 {
        (self.packed >> COLUMN_BITS) + u32::from(key <= self.key)
    }
}

/// Walks a tree that fits the window.
#[inline(never)]
fn windowed<const W: usize, const N: usize>(cells: &[Cell], span: &Span, keys: &[i32; KEYS]) -> [u32; N] {
    let Some(cells) = cells.first_chunk::<W>() else { return [0; N] };
    let mut at = [0; N];
    let mut depth = span.depth;
    if depth >= TOP {
        at = top(cells, keys.as_chunks().0);
        depth -= TOP;
    }
    descend(&mut at, depth, |at, lane| {
        let cell = cells[at as usize & (W - 1)];
        cell.next(keys[cell.keys() + lane % LANES])
    });
    at
}

/// Goes down the first two levels. All rows meet the same three nodes there, so that no row has to look its own up, and the
/// compiler makes vector instructions of it.
#[inline(always)]
fn top<const W: usize, const N: usize>(cells: &[Cell; W], keys: &[[i32; LANES]]) -> [u32; N] {
    let root = cells[0];
    let child = (root.packed >> COLUMN_BITS) as usize;
    let (no, yes) = (cells[child & (W - 1)], cells[(child + 1) & (W - 1)]);
    let of = |cell: Cell| &keys[cell.keys() / LANES];
    let (of_root, of_no, of_yes) = (of(root), of(no), of(yes));
    std::array::from_fn(|lane| {
        let (no, yes) = (no.next(of_no[lane]), yes.next(of_yes[lane]));
        // Not an `if`, of which the compiler may make a branch that the processor cannot foresee.
        let mask = u32::from(of_root[lane] <= root.key).wrapping_neg();
        no ^ ((no ^ yes) & mask)
    })
}

/// Walks a tree that is larger than all windows.
#[inline(never)]
fn large<const N: usize>(cells: &[Cell], span: &Span, keys: &[i32; KEYS]) -> [u32; N] {
    let mut at = [0; N];
    descend(&mut at, span.depth, |at, lane| {
        let cell = cells[at as usize];
        cell.next(keys[cell.keys() + lane % LANES])
    });
    at
}

/// Walks a tree with more columns than a cell can name.
#[inline(never)]
fn wide<const N: usize>(cells: &[Cell], columns: &[u32], span: &Span, keys: &[i32]) -> [u32; N] {
    let mut at = [0; N];
    descend(&mut at, span.depth, |at, lane| {
        cells[at as usize].next(keys[columns[at as usize] as usize * LANES + lane])
    });
    at
}

/// Goes down `depth` levels, or until all rows stay where they are.
#[inline(always)]
fn descend<const N: usize>(at: &mut [u32; N], depth: usize, next: impl Fn(u32, usize) -> u32) {
    if N < HALF {
        *at = levels(*at, depth, &next);
    }
    for (half, at) in at.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
        *at = levels(*at, depth, |at, lane| next(at, half * HALF + lane));
    }
}

#[inline(always)]
fn levels<const N: usize>(mut at: [u32; N], depth: usize, next: impl Fn(u32, usize) -> u32) -> [u32; N] {
    if depth <= SHALLOW {
        for _ in 0..depth {
            at = std::array::from_fn(|lane| next(at[lane], lane));
        }
        return at;
    }
    for _ in 0..depth.div_ceil(LEVELS) {
        for _ in 1..LEVELS {
            at = std::array::from_fn(|lane| next(at[lane], lane));
        }
        let before = at;
        at = std::array::from_fn(|lane| next(at[lane], lane));
        if at.iter().zip(&before).fold(0, |moved, (at, before)| moved | (at ^ before)) == 0 {
            break;
        }
    }
    at
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
