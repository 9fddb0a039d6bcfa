//! The distribution of the largest distance of a sample's distribution function from the true one, as
//! `scipy.stats.kstwo.sf` computes it (Simard and L'Ecuyer, Journal of Statistical Software 39/11, 2011).

use std::f64::consts::PI;

/// Up to this sample size, all methods are exact.
const SMALL: u64 = 140;

/// Returns the probability that the distance is at least `d` for a sample of `n` values.
pub(super) fn tail(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let (nd, ndd) = (size * d, size * d * d);
    if n == 0 || nd <= 0.5 {
        return 1.0;
    }
    let p = if d >= 1.0 {
        0.0
    } else if nd <= 1.0 {
        // n! ((2 n d − 1) / n)^n (Ruben and Gambino)
        1.0 - libm::exp(libm::lgamma(size + 1.0) + size * libm::log((2.0 * nd - 1.0) / size))
    } else if nd >= size - 1.0 {
        2.0 * libm::pow(1.0 - d, size)
    } else if d >= 0.5 || ndd >= if n <= SMALL { 4.0 } else { 2.2 } {
        2.0 * one_sided(n, d)
    } else if n <= SMALL || (n <= 100_000 && size * libm::pow(d, 1.5) <= 1.4) {
        1.0 - durbin(n, d)
    } else {
        1.0 - pelz_good(size, d)
    };
    p.clamp(0.0, 1.0)
}

/// Returns the probability that the true distribution function is at least `d` below the sample's somewhere (Birnbaum
/// and Tingey 1951): Σ C(n, j) d (d + j/n)^(j−1) (1 − d − j/n)^(n−j) over j ≤ n (1 − d).
fn one_sided(n: u64, d: f64) -> f64 {
    let size = n as f64;
    if size * d * d > 370.0 {
        return 0.0; // below 10^-320
    }
    let of_all = libm::lgamma(size + 1.0);
    let term = |j: u64| {
        let j = j as f64;
        let rest = 1.0 - d - j / size;
        if rest <= 0.0 && j < size {
            return 0.0;
        }
        let of_rest = if j < size { (size - j) * libm::log(rest) } else { 0.0 };
        let choices = of_all - libm::lgamma(j + 1.0) - libm::lgamma(size - j + 1.0);
        libm::exp(choices + libm::log(d) + (j - 1.0) * libm::log(d + j / size) + of_rest)
    };
    (0..=(size * (1.0 - d)) as u64).map(term).sum()
}

/// A square matrix, and the exponent of the power of two that it is to be multiplied by.
struct Scaled {
    width: usize,
    cells: Vec<f64>,
    exponent: i32,
}

impl Scaled {
    /// Returns the product, whose largest cell is about 1, since powers grow beyond the range of floats.
    fn times(&self, other: &Self) -> Self {
        let width = self.width;
        let mut cells = vec![0.0; width * width];
        for (row, of_left) in cells.chunks_exact_mut(width).zip(self.cells.chunks_exact(width)) {
            for (factor, of_right) in of_left.iter().zip(other.cells.chunks_exact(width)) {
                row.iter_mut().zip(of_right).for_each(|(cell, right)| *cell += factor * right);
            }
        }
        let largest = cells.iter().copied().fold(0.0, f64::max);
        let exponent = if largest > 0.0 { libm::frexp(largest).1 } else { 0 };
        cells.iter_mut().for_each(|cell| *cell = libm::ldexp(*cell, -exponent));
        Self { width, cells, exponent: self.exponent + other.exponent + exponent }
    }
}

/// Returns the probability that the distance is below `d`, exactly: a cell of the n-th power of a matrix (Durbin 1973;
/// Marsaglia, Tsang, Wang, Journal of Statistical Software 8/18, 2003).
fn durbin(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let middle = (size * d).ceil() as usize;
    let h = middle as f64 - size * d;
    let width = 2 * middle - 1;
    let mut factorials = vec![1.0; width + 1];
    (1..=width).for_each(|i| factorials[i] = factorials[i - 1] * i as f64);
    let edge = |i: usize| (1.0 - libm::pow(h, i as f64)) / factorials[i];
    let mut matrix = Scaled { width, cells: vec![0.0; width * width], exponent: 0 };
    for row in 0..width {
        for column in 0..width.min(row + 2) {
            matrix.cells[row * width + column] = match (row + 1 == width, column == 0) {
                (true, true) => {
                    let corner =
                        1.0 - 2.0 * libm::pow(h, width as f64) + libm::pow((2.0 * h - 1.0).max(0.0), width as f64);
                    corner / factorials[width]
                }
                (true, false) => edge(width - column),
                (false, true) => edge(row + 1),
                (false, false) => 1.0 / factorials[row + 1 - column],
            };
        }
    }
    let mut power: Option<Scaled> = None;
    let mut left = n;
    while left > 0 {
        if left % 2 == 1 {
            power = Some(power.map_or_else(|| matrix.times(&identity(width)), |power| power.times(&matrix)));
        }
        matrix = matrix.times(&matrix);
        left /= 2;
    }
    let Some(power) = power else { return 0.0 };
    let cell = power.cells[(middle - 1) * width + middle - 1];
    // n! / n^n, by Stirling's series within lgamma.
    let scale = libm::lgamma(size + 1.0) - size * libm::log(size) + f64::from(power.exponent) * std::f64::consts::LN_2;
    libm::exp(libm::log(cell) + scale)
}

fn identity(width: usize) -> Scaled {
    let cells = (0..width * width).map(|at| if at % (width + 1) == 0 { 1.0 } else { 0.0 }).collect();
    Scaled { width, cells, exponent: 0 }
}

/// Returns the probability that the distance is below `d` for large samples: K₀(z) + K₁(z)/√n + K₂(z)/n + K₃(z)/n√n,
/// where z = d √n (Pelz and Good, Journal of the Royal Statistical Society B 38, 1976, as in Simard and L'Ecuyer).
fn pelz_good(n: f64, d: f64) -> f64 {
    let z = n.sqrt() * d;
    let (z2, z4, z6) = (z * z, z.powi(4), z.powi(6));
    let (pi2, pi4, pi6) = (PI * PI, PI.powi(4), PI.powi(6));
    if pi2 / (8.0 * z2) > 708.0 {
        return 0.0;
    }
    let terms = (16.0 * z / PI).ceil() as u32;
    let mut sums = [0.0; 4];
    for k in (1..=terms).rev() {
        // Over odd numbers m.
        let m2 = f64::from(2 * k - 1).powi(2);
        let (m4, m6) = (m2 * m2, m2 * m2 * m2);
        let power = libm::exp(-pi2 * m2 / (8.0 * z2));
        sums[0] += power;
        sums[1] += power * (pi2 / 4.0 * m2 - z2);
        sums[2] +=
            power * (6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * pi2 / 4.0 * m2 + pi4 * (1.0 - 2.0 * z2) / 16.0 * m4);
        sums[3] += power
            * (-30.0 * z6 - 90.0 * z.powi(8)
                + pi2 * (135.0 * z4 - 96.0 * z6) / 4.0 * m2
                + pi4 * (212.0 * z4 - 60.0 * z2) / 16.0 * m4
                + pi6 * (5.0 - 30.0 * z2) / 64.0 * m6);
    }
    let root = (2.0 * PI).sqrt();
    let divisors = [z, 6.0 * z4, 72.0 * z.powi(7), 6480.0 * z.powi(10)];
    sums.iter_mut().zip(divisors).for_each(|(sum, divisor)| *sum *= root / divisor);
    for k in 1..=terms {
        let k2 = f64::from(k).powi(2);
        let power = k2 * libm::exp(-pi2 * k2 / (2.0 * z2));
        sums[2] -= power * pi2 * root / (36.0 * z * z2);
        sums[3] += power * (3.0 * z2 - pi2 * k2) * pi2 * root / (216.0 * z6);
    }
    sums[0] + sums[1] / n.sqrt() + sums[2] / n + sums[3] / (n * n.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.kstwo.sf(d, n)
        let expected = [
            (1, 0.3, 1.0),
            (1, 0.5, 1.0),
            (1, 0.62, 0.76),
            (1, 0.8, 0.3999999999999999),
            (1, 0.87, 0.26),
            (2, 0.212132, 1.0),
            (2, 0.353553, 0.914214209528),
            (2, 0.438406, 0.716025433312),
            (2, 0.565685, 0.37725903845000003),
            (2, 0.615183, 0.2961682469779999),
            (2, 0.7, 0.18),
            (2, 0.961665, 0.002939144450000001),
            (5, 0.134164, 0.9998212793273442),
            (5, 0.223607, 0.9162078156199058),
            (5, 0.277272, 0.751302669406754),
            (5, 0.357771, 0.44151676063370804),
            (5, 0.389076, 0.33910645900273384),
            (5, 0.447214, 0.19951802895253),
            (5, 0.60821, 0.026691960254128563),
            (5, 0.666348, 0.010396063817582605),
            (5, 0.939149, 1.6686628371365665e-06),
            (30, 0.054772, 0.9999395307463487),
            (30, 0.091287, 0.9444400003936112),
            (30, 0.113196, 0.7960886002445896),
            (30, 0.146059, 0.49844948020871105),
            (30, 0.15884, 0.3940396145269276),
            (30, 0.182574, 0.23911767058053446),
            (30, 0.248301, 0.040834450920656074),
            (30, 0.272036, 0.018803373869208717),
            (30, 0.383406, 0.00017769151983761482),
            (30, 0.821584, 9.523167372348641e-23),
            (140, 0.025355, 0.9999736360728475),
            (140, 0.042258, 0.9548747414766289),
            (140, 0.0524, 0.8172164670505542),
            (140, 0.067612, 0.5220905016968725),
            (140, 0.073528, 0.4155368942641844),
            (140, 0.084515, 0.25531003466435),
            (140, 0.114941, 0.04559444123538631),
            (140, 0.125928, 0.021493021498737587),
            (140, 0.177482, 0.00024982286481061225),
            (140, 0.380319, 1.0317113217811023e-18),
            (141, 0.025265, 0.9999737156618667),
            (141, 0.042108, 0.9549059542978692),
            (141, 0.052213, 0.8173007631532654),
            (141, 0.067372, 0.5221607237662103),
            (141, 0.073267, 0.4155999534498862),
            (141, 0.084215, 0.2553568447485015),
            (141, 0.114533, 0.045608179963282036),
            (141, 0.125481, 0.02150033005615811),
            (141, 0.176852, 0.000250005841787124),
            (141, 0.378968, 1.0435144876891795e-18),
            (1000, 0.009487, 0.9999856388568882),
            (1000, 0.015811, 0.9605699279029597),
            (1000, 0.019606, 0.8293103411793714),
            (1000, 0.025298, 0.5357022887475282),
            (1000, 0.027512, 0.42782374445736615),
            (1000, 0.031623, 0.26440178193924346),
            (1000, 0.043007, 0.04805283521836845),
            (1000, 0.047118, 0.02282953096806813),
            (1000, 0.066408, 0.0002807836997799656),
            (1000, 0.142302, 3.932818641193898e-18),
            (4762, 0.004347, 0.999988590307146),
            (4762, 0.007246, 0.9623801056824778),
            (4762, 0.008985, 0.8332725609629542),
            (4762, 0.011593, 0.5402374130902063),
            (4762, 0.012607, 0.43197347017785404),
            (4762, 0.014491, 0.26744035535908306),
            (4762, 0.019708, 0.048834136212517865),
            (4762, 0.021592, 0.023243524643390204),
            (4762, 0.030432, 0.0002890849050395065),
            (4762, 0.065211, 4.754607210982506e-18),
            (16667, 0.002324, 0.9999895666800817),
            (16667, 0.003873, 0.9631140202955507),
            (16667, 0.004802, 0.8349915753320529),
            (16667, 0.006197, 0.5419889345033169),
            (16667, 0.006739, 0.4335542174780095),
            (16667, 0.007746, 0.26860416322171654),
            (16667, 0.010534, 0.04915164728195842),
            (16667, 0.011541, 0.02341143241206675),
            (16667, 0.016266, 0.00029230865526968874),
            (16667, 0.034857, 4.977219938643212e-18),
            (99000, 0.000953, 0.9999903766175069),
            (99000, 0.001589, 0.9636274148718993),
            (99000, 0.00197, 0.8362104158017452),
            (99000, 0.002543, 0.5430602686123307),
            (99000, 0.002765, 0.4346988111705342),
            (99000, 0.003178, 0.2695027390944712),
            (99000, 0.004322, 0.04937388230366735),
            (99000, 0.004736, 0.023491840121776734),
            (99000, 0.006674, 0.0002943501947311494),
            (99000, 0.014302, 5.09391634601999e-18),
            (200000, 0.000671, 0.9999903173686131),
            (200000, 0.001118, 0.9637165700233393),
            (200000, 0.001386, 0.8364453530900913),
            (200000, 0.001789, 0.5434307737078441),
            (200000, 0.001945, 0.4351579156580979),
            (200000, 0.002236, 0.26963303815789674),
            (200000, 0.003041, 0.04939178765357233),
            (200000, 0.003332, 0.023518456539428093),
            (200000, 0.004696, 0.00029427868445857546),
            (200000, 0.010062, 5.127236651475017e-18),
            (5, 0.15, 0.9988),
            (5, 0.6, 0.03008000000000001),
            (30, 0.03, 0.9999999999999984),
            (30, 0.97, 4.11782264189309e-46),
            (1000, 0.0009, 1.0),
            (100, 0.45, 5.324995419657099e-19),
        ];
        for (n, d, p) in expected {
            let value: f64 = tail(n, d);
            assert!((value - p).abs() <= 1e-9, "{n} {d}: {value} {p}");
        }
    }

    #[test]
    fn ends_are_certain() {
        assert_eq!(
            (tail(10, 0.0), tail(10, 0.05), tail(10, 1.0), tail(0, 0.5), tail(100_000, 0.5)),
            (1.0, 1.0, 0.0, 1.0, 0.0)
        );
    }
}
