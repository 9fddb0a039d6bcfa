//! The p-value of the two-sample test of Kolmogorov and Smirnov, as `scipy.stats.ks_2samp` 1.17 computes it.
//!
//! Up to 10,000 values a side it is exact (for values without ties): the share of lattice paths from (0, 0) to (m, n)
//! that leave the band |i/m − j/n| < d (Hodges, Arkiv för Matematik 3, 1958). The usual series is wrong by up to 0.01
//! at 800 values.

use super::kolmogorov;

/// Up to so many values a side the p-value is exact.
const EXACT: u64 = 10_000;
/// Above this 2 z², where z = d √(mn / (m + n)), the p-value is below 2 exp(−40). The band is then so wide that paths
/// are not counted, and the approximation for large samples is used. No threshold is that small.
const CERTAIN: f64 = 40.0;

/// Returns the p-value for samples of `m` and `n` values whose distribution functions are at most `largest` / (m n)
/// apart.
pub(super) fn p_value(m: u64, n: u64, largest: i128) -> f64 {
    let (size, d) = (m as f64 * n as f64 / (m as f64 + n as f64), largest as f64 / (m as f64 * n as f64));
    if largest <= 0 || m == 0 || n == 0 {
        return 1.0;
    }
    let p = if m.max(n) > EXACT || (m != n && 2.0 * d * d * size > CERTAIN) {
        kolmogorov::tail(size.round_ties_even() as u64, d)
    } else if m == n {
        of_equal_sizes(n, (largest / i128::from(n)) as u64)
    } else {
        outside_band(m as i64, n as i64, largest as i64)
    };
    p.clamp(0.0, 1.0)
}

/// Returns the p-value for two samples of `n` values, for d = h / n: an alternating sum of products (`scipy`'s
/// `_compute_prob_outside_square`).
fn of_equal_sizes(n: u64, h: u64) -> f64 {
    let mut sum = 0.0;
    for k in (0..=n / h).rev() {
        let product =
            (0..h).fold(1.0, |product, j| (n as f64 - (k * h + j) as f64) * product / (n + k * h + j + 1) as f64);
        sum = product * (1.0 - sum);
    }
    2.0 * sum
}

/// Returns the share of paths that touch |i n − j m| ≥ h. With a(i, j) for those that end at (i, j): it is 1 there, and
/// (i a(i−1, j) + j a(i, j−1)) / (i + j) inside. Only the band is visited.
fn outside_band(m: i64, n: i64, h: i64) -> f64 {
    // A row of a, for one i. Bands move to the right: what is right of one is still 1, and what is left of one is not
    // read again.
    let mut row = vec![1.0; n as usize + 1];
    for i in 0..=m {
        // |i n − j m| < h, rounded inwards.
        let from = (i * n - h).div_euclid(m) + 1;
        let (from, to) = (from.max(0), ((i * n + h - 1).div_euclid(m)).min(n));
        let mut left = 1.0;
        for j in from..=to {
            let at = &mut row[j as usize];
            *at = if i + j == 0 { 0.0 } else { (i as f64 * *at + j as f64 * left) / (i + j) as f64 };
            left = *at;
        }
    }
    row[n as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-12 + 1e-9 * expected, "{value} {expected}");
    }

    #[test]
    fn small_samples_are_counted_path_by_path() {
        // Of the 3 paths from (0, 0) to (1, 2), 2 touch |i − j/2| ≥ 1; of the 6 to (2, 2), 2 touch |i − j| ≥ 2.
        close(p_value(1, 2, 2), 2.0 / 3.0);
        close(p_value(2, 1, 2), 2.0 / 3.0);
        close(p_value(2, 2, 4), 2.0 / 6.0);
        close(outside_band(2, 2, 4), 2.0 / 6.0);
        assert_eq!((p_value(5, 7, 0), p_value(4, 4, 4)), (1.0, 1.0));
    }

    #[test]
    fn both_ways_agree_for_equal_sizes() {
        for (n, h) in [(30, 9), (100, 14), (1000, 50)] {
            close(outside_band(n, n, h * n), of_equal_sizes(n as u64, h as u64));
        }
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.ks_2samp of samples with these sizes and this distance times m n
        let expected = [
            (3, 5, 4, 1.0),
            (3, 5, 8, 0.4642857142857143),
            (3, 5, 11, 0.14285714285714288),
            (30, 30, 90, 0.9988393756362763),
            (30, 30, 150, 0.8079631540901643),
            (30, 30, 240, 0.23907300248018645),
            (30, 30, 330, 0.034580084963334506),
            (30, 30, 510, 8.737803591291227e-05),
            (100, 80, 480, 0.9942236077823827),
            (100, 80, 840, 0.673237848410701),
            (100, 80, 1200, 0.24563233880550928),
            (100, 80, 1640, 0.041443342779873375),
            (100, 80, 2640, 8.822972960678568e-05),
            (100, 80, 5280, 7.697124086755919e-19),
            (800, 600, 10400, 0.9961990941359727),
            (800, 600, 18200, 0.6949777670836709),
            (800, 600, 26000, 0.2586722476465092),
            (800, 600, 35200, 0.04792553279498187),
            (800, 600, 57000, 0.00011598007551746019),
            (800, 600, 114000, 1.9583533147610156e-17),
            (999, 1000, 17875, 0.9958415702483061),
            (999, 1000, 31281, 0.6951032036822405),
            (999, 1000, 44688, 0.2557949874162506),
            (999, 1000, 60775, 0.04554856642635292),
            (999, 1000, 98313, 0.00011822755782051004),
            (999, 1000, 196626, 1.7744242830033398e-17),
            (2000, 2000, 50000, 0.9976509261145676),
            (2000, 2000, 88000, 0.7185142568618185),
            (2000, 2000, 126000, 0.274233348575873),
            (2000, 2000, 172000, 0.04953464037142928),
            (2000, 2000, 278000, 0.0001268222044414911),
            (2000, 2000, 556000, 2.943036101303065e-17),
            (10000, 9999, 565643, 0.9968169112533855),
            (10000, 9999, 989875, 0.7052906315156194),
            (10000, 9999, 1414107, 0.2666383010045117),
            (10000, 9999, 1923186, 0.048863097253693144),
            (10000, 9999, 3111036, 0.00012198376005323275),
            (10000, 9999, 6222073, 2.890495869573037e-17),
            (10001, 40, 25351, 0.9939309886873322),
            (10001, 40, 44365, 0.6678976984200475),
            (10001, 40, 63378, 0.24109479679495505),
            (10001, 40, 86194, 0.04140873491144048),
            (10001, 40, 139432, 7.566875442268655e-05),
            (10001, 40, 278864, 5.622007525411612e-20),
            (20000, 100000, 6200000, 0.9970379649146178),
            (20000, 100000, 10840000, 0.709549869775894),
            (20000, 100000, 15500000, 0.26805308668292693),
            (20000, 100000, 21060000, 0.04929001836299873),
            (20000, 100000, 34080000, 0.00012370350674159605),
            (20000, 100000, 68160000, 2.9719817414528284e-17),
            (12, 30000, 41580, 0.991309389183739),
            (12, 30000, 72756, 0.640679467523122),
            (12, 30000, 103944, 0.2221576912229013),
            (12, 30000, 141360, 0.03533057909833737),
            (12, 30000, 228672, 3.152796760857205e-05),
        ];
        for (m, n, largest, p) in expected {
            let value: f64 = p_value(m, n, largest);
            assert!((value - p).abs() <= 1e-9, "{m} {n} {largest}: {value} {p}");
        }
    }
}
