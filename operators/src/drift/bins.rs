//! Where values are cut into bins, and how many fall into each.
//!
//! Two binnings: that of Evidently is cut anew for each window, over the reference and the window together, so its
//! numbers are Evidently's. That of the reference stays where it is, so windows can be compared with each other.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::folded::{Folded, in_buckets};
use super::settled::Settled;
use super::values::Distribution;
use crate::buckets::bounds_within;

/// Up to so many different values in the reference are counted by value, and not in bins.
const BY_VALUE: usize = 20;

/// How numbers are cut into bins for the statistics that compare shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// As Evidently 0.7.23: ⌈log₂ n + 1⌉ equal bins (Sturges) from the smallest to the largest of all `n` values of
    /// both, or one bin per value if the reference has up to 20 different ones.
    Evidently,
    /// As NannyML: equal bins over the values of the reference by Doane's rule, or one bin per value if it has up to 20
    /// different ones. What falls outside of these is one more bin, if there is something.
    #[default]
    Reference,
}

/// How many values of each side fall into each bin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Of the reference and of the window.
    pub(super) bins: Vec<(f64, f64)>,
    pub(super) reference: f64,
    pub(super) window: f64,
}

impl Counts {
    pub(super) fn of(bins: impl IntoIterator<Item = (f64, f64)>, reference: u64, window: u64) -> Self {
        Self { bins: bins.into_iter().collect(), reference: reference as f64, window: window as f64 }
    }

    /// Returns the shares of each side.
    pub(super) fn shares(&self) -> (Vec<f64>, Vec<f64>) {
        self.bins.iter().map(|(reference, window)| (reference / self.reference, window / self.window)).unzip()
    }
}

/// Counts, and where their bins are.
#[derive(Debug, PartialEq)]
pub(super) enum Placed {
    /// Below the first edge, between each two, and above the last one. A bin has its lower edge, and the last one that is
    /// inside has both.
    Between { edges: Vec<f64>, counts: Counts },
    /// At these values, and at all others.
    At { values: Vec<f64>, counts: Counts },
}

/// Both sides of a comparison, without recent values. Neither is empty.
pub(super) struct Sides<'a> {
    pub(super) reference: &'a Distribution,
    pub(super) window: &'a Distribution,
}

/// Returns the values of two distributions with their counts, sorted. If the values of one are folded, those of the other
/// are, too, so that values of one bucket are equal.
pub(crate) fn points_of_both(left: &Distribution, right: &Distribution) -> [Vec<(f64, u64)>; 2] {
    let (left, right) = (left.settled(), right.settled());
    Sides { reference: &left, window: &right }.points().map(Cow::into_owned)
}

impl Sides<'_> {
    /// Returns the smallest and the largest value of both.
    fn range(&self) -> (f64, f64) {
        let ranges = [self.reference, self.window].into_iter().filter_map(Distribution::range);
        ranges.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), (low, high)| (min.min(low), max.max(high)))
    }

    /// Returns the values of both with their counts, sorted. If the values of one are folded, those of the other are,
    /// too, so that values of one bucket are equal.
    pub(super) fn points(&self) -> [Cow<'_, [(f64, u64)]>; 2] {
        if let (Settled::Exact(reference), Settled::Exact(window)) = (&self.reference.settled, &self.window.settled) {
            return [reference, window].map(|values| Cow::Borrowed(values.as_slice()));
        }
        let (min, max) = self.range();
        [self.reference, self.window].map(|side| match &side.settled {
            Settled::Exact(values) => Cow::Owned(Folded::middles(&in_buckets(values), min, max)),
            Settled::Folded(folded) => Cow::Owned(Folded::middles(&folded.buckets, min, max)),
        })
    }

    /// Returns the number of different values of both if each side has up to `limit`, and a larger number otherwise.
    pub(super) fn distinct_up_to(&self, limit: usize) -> usize {
        let is_few = |side: &Distribution| matches!(&side.settled, Settled::Exact(values) if values.len() <= limit);
        if is_few(self.reference) && is_few(self.window) { self.by_value().bins.len() } else { limit + 1 }
    }

    /// Returns the number of different values of both. It is estimated if one is folded.
    pub(super) fn distinct(&self) -> f64 {
        let fold = |side: &Distribution| match &side.settled {
            Settled::Exact(values) => Folded::of(values).distinct,
            Settled::Folded(folded) => folded.distinct.clone(),
        };
        if self.reference.is_exact() && self.window.is_exact() {
            return self.by_value().bins.len() as f64;
        }
        let mut distinct = fold(self.reference);
        distinct.merge(&fold(self.window));
        distinct.estimate()
    }

    /// Returns the counts by value, or by bucket.
    pub(super) fn by_value(&self) -> Counts {
        let [reference, window] = self.points();
        Counts::of(side_by_side(&reference, &window), self.reference.count, self.window.count)
    }

    /// Returns the counts by the bins of a binning.
    pub(super) fn binned(&self, binning: Binning) -> Counts {
        let few = matches!(&self.reference.settled, Settled::Exact(values) if values.len() <= BY_VALUE);
        match binning {
            Binning::Evidently if few => self.by_value(),
            Binning::Evidently => {
                self.between(&sturges(self.range(), (self.reference.count + self.window.count) as f64))
            }
            Binning::Reference if few => self.by_value_of_reference(),
            Binning::Reference => self.between(&doane(self.reference)),
        }
    }

    /// Returns the counts by bins that stay where they are from window to window, and say where they are: those of
    /// [`Binning::Reference`], of which neighbours are put together beyond `most`.
    pub(super) fn placed(&self, most: usize) -> Placed {
        if matches!(&self.reference.settled, Settled::Exact(values) if values.len() <= BY_VALUE) {
            return self.placed_by_value();
        }
        let all = doane(self.reference);
        let group = all.len().saturating_sub(1).div_ceil(most.max(1)).max(1);
        let mut edges: Vec<f64> = all.iter().copied().step_by(group).collect();
        if edges.last() != all.last() {
            edges.extend(all.last());
        }
        let [reference, window] = [self.reference, self.window].map(|side| {
            let below = counts_below(side, &edges);
            let inside = below.windows(2).map(|pair| pair[1] - pair[0]);
            let (first, last) = (below.first().copied().unwrap_or(0.0), below.last().copied().unwrap_or(0.0));
            std::iter::once(first).chain(inside).chain([side.count as f64 - last]).collect::<Vec<_>>()
        });
        let bins = reference.into_iter().zip(window);
        Placed::Between { edges, counts: Counts::of(bins, self.reference.count, self.window.count) }
    }

    fn placed_by_value(&self) -> Placed {
        let [reference, window] = self.points();
        // If the window is folded, values stand for their buckets.
        let values = reference.iter().map(|(value, _)| *value).collect();
        let both = side_by_side(&reference, &window);
        let (mut bins, new): (Vec<_>, Vec<_>) = both.into_iter().partition(|(reference, _)| *reference > 0.0);
        bins.push((0.0, new.iter().map(|(_, window)| window).sum()));
        Placed::At { values, counts: Counts::of(bins, self.reference.count, self.window.count) }
    }

    /// Returns the counts by the bins that Evidently uses for the Hellinger distance of numbers: as many as there would
    /// be if each different value of both came once.
    pub(super) fn binned_by_distinct(&self) -> Counts {
        self.between(&sturges(self.range(), self.distinct()))
    }

    fn between(&self, edges: &[f64]) -> Counts {
        let [reference, window] = [self.reference, self.window].map(|side| counts_between(side, edges));
        let [outside, outside_of_window] = [(self.reference, &reference), (self.window, &window)]
            .map(|(side, inside)| side.count as f64 - inside.iter().sum::<f64>());
        let mut bins: Vec<(f64, f64)> = reference.into_iter().zip(window).collect();
        if outside > 0.0 || outside_of_window > 0.0 {
            bins.push((outside, outside_of_window));
        }
        Counts::of(bins, self.reference.count, self.window.count)
    }

    fn by_value_of_reference(&self) -> Counts {
        let mut all = self.by_value();
        let outside: f64 = all.bins.iter().filter(|(reference, _)| *reference == 0.0).map(|(_, window)| window).sum();
        all.bins.retain(|(reference, _)| *reference > 0.0);
        if outside > 0.0 {
            all.bins.push((0.0, outside));
        }
        all
    }
}

/// Returns the counts of both lists for each value that is in one of them.
fn side_by_side(reference: &[(f64, u64)], window: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let mut rest = (reference.iter().peekable(), window.iter().peekable());
    let mut bins = Vec::new();
    loop {
        let next = match (rest.0.peek(), rest.1.peek()) {
            (None, None) => return bins,
            (Some(of_one), None) | (None, Some(of_one)) => of_one.0,
            (Some(a), Some(b)) => a.0.min(b.0),
        };
        let count = |of_one: Option<&(f64, u64)>| of_one.map_or(0.0, |(_, count)| *count as f64);
        bins.push((count(rest.0.next_if(|at| at.0 == next)), count(rest.1.next_if(|at| at.0 == next))));
    }
}

/// Returns the edges of equal bins for `n` values of a range, by the rule of Sturges as numpy 2.4 computes it
/// (`numpy.histogram_bin_edges`).
fn sturges((min, max): (f64, f64), n: f64) -> Vec<f64> {
    equal_bins(min, max, libm::log2(n) + 1.0)
}

/// Returns the edges of equal bins over a distribution by the rule of Doane as numpy 2.4 computes it: more bins than by
/// that of Sturges if it is skewed (Doane, The American Statistician 30, 1976).
fn doane(of: &Distribution) -> Vec<f64> {
    let Some((min, max)) = of.range() else { return Vec::new() };
    let (n, points) = (of.count as f64, middles_of(of, min, max));
    let mean = points.iter().map(|(value, count)| value * *count as f64).sum::<f64>() / n;
    let moment = |power: i32, unit: f64| {
        points.iter().map(|(value, count)| ((value - mean) / unit).powi(power) * *count as f64).sum::<f64>() / n
    };
    let deviation = moment(2, 1.0).sqrt();
    if of.count <= 2 || deviation == 0.0 || !deviation.is_finite() {
        return equal_bins(min, max, 1.0);
    }
    let skewness_deviation = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
    let skewness = moment(3, deviation);
    equal_bins(min, max, 1.0 + libm::log2(n) + libm::log2(1.0 + skewness.abs() / skewness_deviation))
}

fn middles_of(of: &Distribution, min: f64, max: f64) -> Cow<'_, [(f64, u64)]> {
    match &of.settled {
        Settled::Exact(values) => Cow::Borrowed(values),
        Settled::Folded(folded) => Cow::Owned(Folded::middles(&folded.buckets, min, max)),
    }
}

/// Returns the edges of ⌈`bins`⌉ equal bins; of one bin around a single value.
fn equal_bins(min: f64, max: f64, bins: f64) -> Vec<f64> {
    // It is computed as numpy does, since rounding may make one bin more.
    let bins_in = |range: f64| if range.is_finite() { (range / (range / bins)).ceil() } else { bins.ceil() };
    let (min, max, bins) = if min == max { (min - 0.5, max + 0.5, 1.0) } else { (min, max, bins_in(max - min)) };
    let bins = if bins >= 1.0 { bins } else { 1.0 };
    let step = (max - min) / bins;
    let edge = |i: f64| if step.is_finite() { i * step + min } else { min * (1.0 - i / bins) + max * (i / bins) };
    let mut edges: Vec<f64> = (0..bins as u32).map(|i| edge(f64::from(i))).collect();
    edges.push(max);
    // Bins may be narrower than floats are apart.
    edges.dedup();
    edges
}

/// Returns how many values are in each bin. A bin has its lower edge, and the last one both.
fn counts_between(of: &Distribution, edges: &[f64]) -> Vec<f64> {
    counts_below(of, edges).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Returns how many values are below each edge, and up to the last one.
fn counts_below(of: &Distribution, edges: &[f64]) -> Vec<f64> {
    let last = edges.len().saturating_sub(1);
    match &of.settled {
        Settled::Exact(values) => exact_below(values, edges, last),
        Settled::Folded(folded) => folded_below(folded, edges, last),
    }
}

/// Returns the number of values below each edge, and of those up to the last one.
fn exact_below(values: &[(f64, u64)], edges: &[f64], last: usize) -> Vec<f64> {
    let (mut rest, mut sum) = (values.iter().peekable(), 0);
    let mut below = Vec::with_capacity(edges.len());
    for (index, edge) in edges.iter().enumerate() {
        while let Some((_, count)) = rest.next_if(|(value, _)| value < edge || (index == last && value == edge)) {
            sum += count;
        }
        below.push(sum as f64);
    }
    below
}

/// As [`exact_below`]. A bucket that an edge cuts is taken to be filled evenly, and is cut between two values: a bin
/// with a part of a value would not be empty, and empty bins weigh most in some statistics.
fn folded_below(folded: &Folded, edges: &[f64], last: usize) -> Vec<f64> {
    let (mut rest, mut sum) = (folded.buckets.iter().peekable(), 0);
    let mut below = Vec::with_capacity(edges.len());
    for (index, edge) in edges.iter().enumerate() {
        let ends = |bucket: u32| bounds_within(bucket, folded.min, folded.max);
        let is_below = |high: f64| high < *edge || (high == *edge && (index == last || high < folded.max));
        while let Some((_, count)) = rest.next_if(|(bucket, _)| is_below(ends(*bucket).1)) {
            sum += count;
        }
        let part = rest.peek().map_or(0.0, |(bucket, count)| {
            let (low, high) = ends(*bucket);
            if *edge > low { ((edge - low) / (high - low)).min(1.0) * *count as f64 } else { 0.0 }
        });
        below.push(sum as f64 + part.round());
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exact_values: usize, values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut distribution = Distribution::with_exact_values(exact_values);
        values.into_iter().for_each(|value| distribution.add(Some(value)));
        distribution.settled().into_owned()
    }

    #[test]
    fn edges_are_those_of_numpy() {
        // numpy.histogram_bin_edges(numpy.arange(100.0) ** 2, "sturges") and "doane"
        let squares = of(1000, (0..100).map(|i| f64::from(i * i)));
        let edges = sturges((0.0, 9801.0), 100.0);
        assert_eq!((edges.len(), edges[0], edges[1], edges[8]), (9, 0.0, 1225.125, 9801.0));
        let edges = doane(&squares);
        assert_eq!((edges.len(), edges[1], edges[10]), (11, 980.1, 9801.0));
        assert_eq!(sturges((3.0, 3.0), 1.0), [2.5, 3.5]);
        assert_eq!(doane(&of(9, [5.0; 4])), [4.5, 5.5]);
        let widest = sturges((f64::MIN, f64::MAX), 1000.0);
        assert!(widest.len() == 12 && widest.iter().all(|edge| edge.is_finite()));
        assert_eq!(sturges((1.0, 1.0f64.next_up()), 1000.0).len(), 2);
    }

    #[test]
    fn a_bin_has_its_lower_edge_and_the_last_one_both() {
        let values = [0.0, 1.0, 1.0, 1.5, 2.0, 3.0, 3.0, 9.0, -1.0];
        let edges = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(counts_between(&of(9, values), &edges), [1.0, 3.0, 3.0]);
        // Of folded values, no one knows whether they are equal to the last edge, unless they end there.
        assert_eq!(counts_between(&of(1, values), &[0.0, 1.0, 2.0, 9.0]), [1.0, 3.0, 4.0]);
    }

    #[test]
    fn an_edge_cuts_a_bucket_in_proportion() {
        let folded = of(1, (0..256).map(|i| 1.0 + f64::from(i) / 65536.0));
        assert!(!folded.is_exact());
        let [low, high] = [1.0, folded.range().unwrap().1];
        let counts = counts_between(&folded, &[low, low / 4.0 + high * 0.75, high]);
        assert!((counts[0] - 192.0).abs() < 1e-9 && (counts[1] - 64.0).abs() < 1e-9, "{counts:?}");
    }

    #[test]
    fn what_falls_outside_of_the_reference_is_one_more_bin() {
        let reference = of(1000, (0..100).map(f64::from));
        let window = of(1000, [-5.0, 50.0, 120.0, 130.0]);
        let sides = Sides { reference: &reference, window: &window };
        let counts = sides.binned(Binning::Reference);
        assert_eq!((counts.bins.len(), counts.bins.last()), (doane(&reference).len(), Some(&(0.0, 3.0))));
        let inside = Sides { reference: &reference, window: &reference }.binned(Binning::Reference);
        assert_eq!(inside.bins.len() + 1, doane(&reference).len());
        let Placed::Between { edges, counts } = sides.placed(40) else { panic!("there are many values") };
        assert_eq!((edges, counts.bins.len()), (doane(&reference), doane(&reference).len() + 1));
        assert_eq!((counts.bins[0], counts.bins.last()), ((0.0, 1.0), Some(&(0.0, 2.0))), "outside of both ends");
        let few = of(9, [1.0, 2.0, 2.0]);
        let counts = Sides { reference: &few, window: &of(9, [2.0, 3.0, 0.5, 2.0]) }.binned(Binning::Reference);
        assert_eq!(counts.bins, [(1.0, 0.0), (2.0, 2.0), (0.0, 2.0)]);
        let counts = Sides { reference: &few, window: &of(9, [2.0, 3.0, 0.5, 2.0]) }.binned(Binning::Evidently);
        assert_eq!(counts.bins, [(0.0, 1.0), (1.0, 0.0), (2.0, 2.0), (0.0, 1.0)]);
        let window = of(9, [2.0, 3.0, 0.5, 2.0]);
        let Placed::At { values, counts } = (Sides { reference: &few, window: &window }).placed(40) else {
            panic!("there are few values")
        };
        assert_eq!((values, counts.bins), (vec![1.0, 2.0], vec![(1.0, 0.0), (2.0, 2.0), (0.0, 2.0)]));
    }

    #[test]
    fn bins_that_are_too_many_are_put_together_and_nothing_is_lost() {
        let reference = of(1000, (0..1000).map(|i| f64::from(i * i)));
        let window = of(1, (0..500).map(|i| f64::from(i * 3000) - 5000.0));
        let sides = Sides { reference: &reference, window: &window };
        let all = doane(&reference);
        for most in [0, 1, 4, 5, 1000] {
            let Placed::Between { edges, counts } = sides.placed(most) else { panic!("there are many values") };
            assert!(edges.len() <= most.max(1) + 1 && edges.len() + 1 == counts.bins.len(), "{most}: {edges:?}");
            assert_eq!((edges.first(), edges.last()), (all.first(), all.last()));
            let sum = counts.bins.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
            assert_eq!(sum, (1000.0, 500.0), "{most}");
            assert!(counts.bins[0].1 > 0.0 && counts.bins.last().is_some_and(|bin| bin.1 > 100.0), "{counts:?}");
        }
    }
}
