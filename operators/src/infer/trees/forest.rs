//! A forest: trees, the values of their leaves, and how these become the scores of a row.

use super::finish::{Finish, Label, Link};
use super::flat::{Flat, Keys, Tree};
use super::walk::{FEW, LANES};

/// Maximum number of targets or classes.
pub(super) const MOST_TARGETS: usize = 1 << 16;

/// The values of leaves, with the targets (classes) that they count for.
#[derive(Debug)]
pub(super) struct Votes<N> {
    /// Where the values of each leaf begin in `list`; one more than there are leaves.
    first: Vec<u32>,
    list: Vec<(u32, N)>,
    /// The values by cell, where each leaf has one and all leaves of a tree have the same target.
    single: Option<Single<N>>,
}

#[derive(Debug)]
struct Single<N> {
    /// For each tree, its target.
    targets: Vec<u32>,
    /// For each cell, its value.
    values: Vec<N>,
}

/// How the values for a target are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

/// The values of leaves, and what becomes of them.
#[derive(Debug)]
pub(super) enum Leaves {
    F32 {
        votes: Votes<f32>,
        start: Vec<f32>,
        aggregate: Aggregate,
        finish: Finish,
    },
    /// LightGBM adds doubles.
    F64 {
        votes: Votes<f64>,
        divisor: f64,
        link: Link,
    },
}

#[derive(Debug)]
pub(super) struct Forest {
    /// Number of features in a row.
    pub(super) width: usize,
    /// Number of targets or classes.
    pub(super) targets: usize,
    flat: Flat,
    leaves: Leaves,
}

/// The buffers of a run, and its results.
#[derive(Debug)]
pub(super) struct Scores {
    keys: Keys,
    singles: Totals<f32>,
    doubles: Totals<f64>,
    /// The totals of all rows, before the transform.
    pub(super) raw: Vec<f32>,
    pub(super) scores: Vec<f32>,
    pub(super) labels: Vec<Label>,
}

/// The totals of sixteen rows, by target, and whether each has a value at all.
#[derive(Debug)]
struct Totals<N> {
    values: Vec<[N; LANES]>,
    seen: Vec<[bool; LANES]>,
    row: Vec<N>,
    row_seen: Vec<bool>,
}

impl<N: Copy + Default + PartialOrd + std::ops::AddAssign> Votes<N> {
    /// Creates the values of leaves, which are given in the order of the leaves' numbers, as lists of targets and
    /// values. Returns none where a target is too large, or a leaf has no value.
    pub(super) fn of(leaves: &[Vec<(usize, N)>], trees: &[Tree], targets: usize) -> Option<Self> {
        let (mut first, mut list) = (vec![0], Vec::new());
        for leaf in leaves {
            for (target, value) in leaf {
                list.push((u32::try_from(*target).ok().filter(|_| *target < targets)?, *value));
            }
            first.push(u32::try_from(list.len()).ok().filter(|_| !leaf.is_empty())?);
        }
        let target = |tree: &Tree| {
            let mut leaves = tree.leaves().map(|leaf| match leaves.get(leaf)?[..] {
                [(target, _)] => u32::try_from(target).ok(),
                _ => None,
            });
            let first = leaves.next()??;
            leaves.all(|target| target == Some(first)).then_some(first)
        };
        if trees.iter().flat_map(Tree::leaves).any(|leaf| leaf >= leaves.len()) {
            return None;
        }
        let all_single = leaves.iter().all(|leaf| leaf.len() == 1);
        let targets = trees.iter().map(target).collect::<Option<Vec<u32>>>().filter(|_| all_single);
        // The values by cell follow when the cells are known.
        let single = targets.map(|targets| Single { targets, values: Vec::new() });
        Some(Self { first, list, single })
    }

    /// Sets the values of cells, whose leaves are given.
    fn lay_out(&mut self, leaves: &[u32]) {
        if let Some(single) = &mut self.single {
            let value = |leaf: &u32| self.list.get(*leaf as usize).map(|(_, value)| *value).unwrap_or_default();
            single.values = leaves.iter().map(value).collect();
        }
    }

    #[inline(always)]
    fn add<const L: usize>(
        &self,
        (tree, start, at): (usize, usize, &[u32; L]),
        leaves: &[u32],
        aggregate: Aggregate,
        totals: &mut Totals<N>,
    ) {
        if let (Some(single), Aggregate::Sum) = (&self.single, aggregate) {
            let target = single.targets[tree] as usize;
            totals.seen[target] = [true; LANES];
            let values = &single.values[start..];
            for (total, at) in totals.values[target].iter_mut().zip(at) {
                *total += values[*at as usize];
            }
            return;
        }
        for (lane, at) in at.iter().enumerate() {
            let leaf = leaves[start + *at as usize] as usize;
            for (target, value) in &self.list[self.first[leaf] as usize..self.first[leaf + 1] as usize] {
                let (total, seen) =
                    (&mut totals.values[*target as usize][lane], &mut totals.seen[*target as usize][lane]);
                let replaces = !*seen
                    || match aggregate {
                        Aggregate::Sum => false,
                        Aggregate::Min => value < total,
                        Aggregate::Max => value > total,
                    };
                match aggregate {
                    Aggregate::Sum => *total += *value,
                    _ if replaces => *total = *value,
                    _ => {}
                }
                *seen = true;
            }
        }
    }
}

impl<N: Copy + Default> Totals<N> {
    fn new(targets: usize) -> Self {
        let (values, seen) = (vec![[N::default(); LANES]; targets], vec![[false; LANES]; targets]);
        Self { values, seen, row: Vec::with_capacity(targets), row_seen: Vec::with_capacity(targets) }
    }

    fn start(&mut self, start: &[N]) {
        self.seen.fill([false; LANES]);
        for (target, values) in self.values.iter_mut().enumerate() {
            *values = [start.get(target).copied().unwrap_or_default(); LANES];
        }
    }

    /// Takes the totals of one row out.
    fn take(&mut self, lane: usize) -> &mut Self {
        self.row.clear();
        self.row.extend(self.values.iter().map(|values| values[lane]));
        self.row_seen.clear();
        self.row_seen.extend(self.seen.iter().map(|seen| seen[lane]));
        self
    }
}

impl Forest {
    /// Lays out trees. Returns none where they do not fit each other or the features.
    pub(super) fn of(width: usize, targets: usize, trees: &[Tree], mut leaves: Leaves) -> Option<Self> {
        let flat = Flat::of(trees)?;
        match &mut leaves {
            Leaves::F32 { votes, .. } => votes.lay_out(flat.leaves()),
            Leaves::F64 { votes, .. } => votes.lay_out(flat.leaves()),
        }
        let fits = flat.columns.iter().all(|column| column.feature < width);
        (fits && targets > 0 && targets <= MOST_TARGETS && width > 0).then_some(Self { width, targets, flat, leaves })
    }

    /// Returns the features with the thresholds that numbers are compared with.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = (usize, f32)> {
        self.flat.thresholds()
    }

    /// Returns the number of trees.
    pub(super) fn trees(&self) -> usize {
        self.flat.trees()
    }

    /// Returns the number of scores of a row.
    pub(super) fn columns(&self) -> usize {
        match &self.leaves {
            Leaves::F32 { finish: Finish::XgBoost(link), .. } | Leaves::F64 { link, .. } => link.scores(self.targets),
            Leaves::F32 { .. } => self.targets,
        }
    }

    pub(super) fn scores(&self) -> Scores {
        Scores {
            keys: Keys::of(&self.flat.columns),
            singles: Totals::new(self.targets),
            doubles: Totals::new(self.targets),
            raw: Vec::new(),
            scores: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Scores rows of `width` features.
    pub(super) fn run(&self, rows: &[f32], to: &mut Scores) {
        to.raw.clear();
        to.scores.clear();
        to.labels.clear();
        for rows in rows.chunks(LANES * self.width) {
            to.keys.fill(&self.flat.columns, rows, self.width);
            let lanes = rows.len() / self.width;
            match &self.leaves {
                Leaves::F32 { votes, start, aggregate, finish } => {
                    to.singles.start(start);
                    self.total(votes, *aggregate, lanes, &to.keys, &mut to.singles);
                    for lane in 0..lanes {
                        let Totals { row, row_seen, .. } = to.singles.take(lane);
                        to.raw.extend_from_slice(row);
                        to.labels.push(finish.row(row, row_seen, &mut to.scores));
                    }
                }
                Leaves::F64 { votes, divisor, link } => {
                    to.doubles.start(&[]);
                    self.total(votes, Aggregate::Sum, lanes, &to.keys, &mut to.doubles);
                    for lane in 0..lanes {
                        let Totals { row, .. } = to.doubles.take(lane);
                        to.raw.extend(row.iter().map(|total| *total as f32));
                        row.iter_mut().for_each(|total| *total /= divisor);
                        link.row_f64(row, &mut to.scores);
                        to.labels.push(Label::Class(0));
                    }
                }
            }
        }
    }

    /// Adds the values of the leaves of `lanes` rows.
    fn total<N: Copy + Default + PartialOrd + std::ops::AddAssign>(
        &self,
        votes: &Votes<N>,
        aggregate: Aggregate,
        lanes: usize,
        keys: &Keys,
        totals: &mut Totals<N>,
    ) {
        let leaves = self.flat.leaves();
        if lanes <= FEW {
            self.flat.walk::<FEW>(keys, |tree, start, at| votes.add((tree, start, at), leaves, aggregate, totals));
        } else {
            self.flat.walk::<LANES>(keys, |tree, start, at| votes.add((tree, start, at), leaves, aggregate, totals));
        }
    }
}
