//! Distances of shares: population stability index, Kullback-Leibler, Jensen-Shannon, Hellinger; and tests of counts.
//!
//! `p` are the shares of the reference, `q` those of the window, bin by bin.

use super::bins::Counts;
use super::special;

/// Returns the population stability index: Σ (p − q) ln(p / q), with empty bins filled, and without making the sum of
/// the shares 1 again.
pub(super) fn psi(counts: &Counts) -> f64 {
    let (p, q) = filled(counts);
    p.iter().zip(&q).map(|(p, q)| (p - q) * libm::log(p / q)).sum()
}

/// Returns the divergence of the reference from the window: Σ p ln(p / q), with empty bins filled and sums of 1.
pub(super) fn kullback_leibler(counts: &Counts) -> f64 {
    let (p, q) = filled(counts);
    let (of_p, of_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
    p.iter().zip(&q).map(|(p, q)| (p / of_p) * libm::log((p / of_p) / (q / of_q))).sum()
}

/// Returns the square root of the Jensen-Shannon divergence, by natural logarithm.
pub(super) fn jensen_shannon(counts: &Counts) -> f64 {
    let (p, q) = counts.shares();
    let (of_p, of_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
    let part = |share: f64, mean: f64| if share > 0.0 { share * libm::log(share / mean) } else { 0.0 };
    let both = p.iter().zip(&q).map(|(p, q)| {
        let (p, q) = (p / of_p, q / of_q);
        let mean = (p + q) / 2.0;
        part(p, mean) + part(q, mean)
    });
    (both.sum::<f64>() / 2.0).max(0.0).sqrt()
}

/// Returns the Hellinger distance √(1 − Σ √(p q)), as √(½ Σ (√p − √q)²): that is the same, and is exact near 0.
pub(super) fn hellinger(counts: &Counts) -> f64 {
    let (p, q) = counts.shares();
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| (p.sqrt() - q.sqrt()) * (p.sqrt() - q.sqrt())).sum();
    (sum / 2.0).min(1.0).sqrt()
}

/// Returns the p-value of Pearson's test of the window against the shares of the reference, which count as exact
/// (`scipy.stats.chisquare`).
pub(super) fn chi_square(counts: &Counts) -> f64 {
    let scale = counts.window / counts.reference;
    let statistic: f64 = counts
        .bins
        .iter()
        .map(|(reference, window)| {
            let expected = reference * scale;
            (window - expected) * (window - expected) / expected
        })
        .sum();
    // With one category there is nothing that could differ.
    if counts.bins.len() < 2 { 1.0 } else { special::chi_square_tail(statistic, (counts.bins.len() - 1) as f64) }
}

/// Returns the p-value, two-sided, of the test of two shares with pooled variance: those of records outside the first
/// bin.
pub(super) fn z(counts: &Counts) -> f64 {
    let Some((reference, window)) = counts.bins.first().filter(|_| counts.bins.len() > 1) else { return 1.0 };
    let (n, m) = (counts.reference, counts.window);
    let (p, q) = ((n - reference) / n, (m - window) / m);
    let pooled = (p * n + q * m) / (n + m);
    special::normal_two_sided((p - q) / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt())
}

/// Returns the shares of both sides, where each side has its empty bins filled as Evidently does: with 0.0001, or a
/// millionth of the least share if that is not larger.
fn filled(counts: &Counts) -> (Vec<f64>, Vec<f64>) {
    let (mut p, mut q) = counts.shares();
    for shares in [&mut p, &mut q] {
        let least = shares.iter().copied().filter(|share| *share > 0.0).fold(f64::INFINITY, f64::min);
        let fill = if least <= 1e-4 { least / 1e6 } else { 1e-4 };
        shares.iter_mut().filter(|share| **share == 0.0).for_each(|share| *share = fill);
    }
    (p, q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bins: &[(f64, f64)]) -> Counts {
        let sum = |side: fn(&(f64, f64)) -> f64| bins.iter().map(side).sum::<f64>() as u64;
        Counts::of(bins.iter().copied(), sum(|bin| bin.0), sum(|bin| bin.1))
    }

    fn close(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-12
    }

    #[test]
    fn distances_are_those_computed_by_hand() {
        let half = counts(&[(50.0, 25.0), (50.0, 75.0)]);
        assert!(close(psi(&half), 0.25 * 2f64.ln() + 0.25 * 1.5f64.ln()));
        assert!(close(kullback_leibler(&half), 0.5 * 2f64.ln() + 0.5 * (2f64 / 3.0).ln()));
        let expected = (0.5 * (0.5f64 / 0.375).ln()
            + 0.25 * (0.25f64 / 0.375).ln()
            + 0.5 * (0.5f64 / 0.625).ln()
            + 0.75 * (0.75f64 / 0.625).ln())
            / 2.0;
        assert!(close(jensen_shannon(&half), expected.sqrt()));
        assert!(close(hellinger(&half), (1.0 - (0.125f64.sqrt() + 0.375f64.sqrt())).sqrt()));
        let apart = counts(&[(10.0, 0.0), (0.0, 30.0)]);
        assert!(close(jensen_shannon(&apart), 2f64.ln().sqrt()) && close(hellinger(&apart), 1.0));
        let same = counts(&[(10.0, 30.0), (20.0, 60.0)]);
        assert!([psi, kullback_leibler, jensen_shannon, hellinger].iter().all(|distance| close(distance(&same), 0.0)));
    }

    #[test]
    fn empty_bins_are_filled_by_side() {
        assert_eq!(filled(&counts(&[(50.0, 0.0), (50.0, 10.0)])).1, [1e-4, 1.0]);
        let (p, q) = filled(&counts(&[(1.0, 1.0), (0.0, 0.0), (19_999.0, 1.0)]));
        assert_eq!((p[1], q[1]), (5e-5 / 1e6, 1e-4));
    }

    #[test]
    fn tests_of_counts_are_those_of_scipy() {
        // scipy.stats.chisquare([30, 20, 50], [40, 20, 40])
        let three = counts(&[(40.0, 30.0), (20.0, 20.0), (40.0, 50.0)]);
        assert!(close(chi_square(&three), 0.0820849986238988), "{}", chi_square(&three));
        assert_eq!(chi_square(&counts(&[(10.0, 5.0), (0.0, 1.0)])), 0.0);
        assert_eq!((chi_square(&counts(&[(10.0, 5.0)])), z(&counts(&[(10.0, 5.0)]))), (1.0, 1.0));
        // 2 (1 - Φ(1.4142135623730951)): shares 0.4 and 0.6, pooled 0.5, of 25 each.
        let two = counts(&[(15.0, 10.0), (10.0, 15.0)]);
        assert!(close(z(&two), 0.15729920705028513), "{}", z(&two));
    }
}
