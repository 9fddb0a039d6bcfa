//! The walk down a tree, sixteen rows at a time.
//!
//! A step has no branch, and the sixteen rows do not depend on each other, so the processor works on many at a time.
//! All rows of a batch go through one tree before the next, which stays in the nearest cache. The keys of the rows lie
//! by column, so that a row is a constant offset.
//!
//! Index checks took a third of the time. They go away where the compiler sees that an index fits: the keys are a table
//! of 256 columns, and a tree lies in a window of a power of two, to which its indices are cut. Instructions for 256 or
//! 512 bits bring nothing: their gathers are slower than single loads where this was measured (AMD Zen 5).

/// Number of rows that are walked at a time.
pub(super) const LANES: usize = 16;
/// Number of columns that a cell can name.
pub(super) const NARROW: usize = 256;
/// Number of keys that a cell can name.
pub(super) const KEYS: usize = NARROW * LANES;
/// Number of rows whose places in a tree stay in registers. More take longer.
const HALF: usize = LANES / 2;
/// The windows in which the index check goes away; larger trees are walked with it.
pub(super) const WINDOWS: [usize; 4] = [64, 256, 1024, 4096];
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
pub(super) const MOST_CELLS: usize = 1 << (u32::BITS - COLUMN_BITS);

#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) key: i32,
    /// The first child, and in the lowest bits where the keys of the column begin.
    packed: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) depth: usize,
}

impl Cell {
    pub(super) fn leaf(at: usize) -> Self {
        Self::inner(i32::MIN, at, 0)
    }

    pub(super) fn inner(key: i32, child: usize, column: usize) -> Self {
        Self { key, packed: (child as u32) << COLUMN_BITS | (column * LANES) as u32 }
    }

    /// Returns where the keys of the column begin.
    #[inline(always)]
    pub(super) fn keys(self) -> usize {
        self.packed as usize & (KEYS - LANES)
    }

    #[inline(always)]
    fn next(self, key: i32) -> u32 {
        (self.packed >> COLUMN_BITS) + u32::from(key <= self.key)
    }
}

/// Walks a tree that fits the window.
#[inline(never)]
pub(super) fn windowed<const W: usize, const N: usize>(cells: &[Cell], span: &Span, keys: &[i32; KEYS]) -> [u32; N] {
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

/// Goes down the first two levels. All rows meet the same three nodes there, so that no row has to look its own up, and
/// the compiler makes vector instructions of it.
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
pub(super) fn large<const N: usize>(cells: &[Cell], span: &Span, keys: &[i32; KEYS]) -> [u32; N] {
    let mut at = [0; N];
    descend(&mut at, span.depth, |at, lane| {
        let cell = cells[at as usize];
        cell.next(keys[cell.keys() + lane % LANES])
    });
    at
}

/// Walks a tree with more columns than a cell can name.
#[inline(never)]
pub(super) fn wide<const N: usize>(cells: &[Cell], columns: &[u32], span: &Span, keys: &[i32]) -> [u32; N] {
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
