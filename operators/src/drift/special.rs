//! Tails of the normal and of the chi-square distribution.

/// Returns the probability that a standard normal variable is at least as far from 0 as `z`.
pub(super) fn normal_two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// Returns the probability that a chi-square variable with `degrees` of freedom is above `statistic`: the regularized
/// upper incomplete gamma function Q(degrees/2, statistic/2), by its series and its continued fraction (Abramowitz and
/// Stegun 6.5.29 and 6.5.31, the latter by Lentz's method).
pub(super) fn chi_square_tail(statistic: f64, degrees: f64) -> f64 {
    let (a, x) = (degrees / 2.0, statistic / 2.0);
    if x.is_nan() || x <= 0.0 {
        return if x.is_nan() { x } else { 1.0 };
    }
    if x.is_infinite() {
        return 0.0;
    }
    let factor = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 { (1.0 - factor * series(a, x)).clamp(0.0, 1.0) } else { (factor * fraction(a, x)).clamp(0.0, 1.0) }
}

/// Number of terms after which a series or fraction is as exact as it will be: about √a of them are needed.
const TERMS: u32 = 100_000;

fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..TERMS {
        term *= x / (a + f64::from(n));
        sum += term;
        if term < sum * f64::EPSILON / 4.0 {
            break;
        }
    }
    sum
}

fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut value = d;
    for n in 1..TERMS {
        let step = f64::from(n) * (a - f64::from(n));
        b += 2.0;
        let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
        d = 1.0 / away_from_zero(step * d + b);
        c = away_from_zero(b + step / c);
        value *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.chi2.sf(x, df), and 2 * scipy.stats.norm.sf(z)
        let expected = [
            (0.01, 1.0, 0.920344325445942),
            (0.9, 1.0, 0.34278171114790873),
            (4.0, 1.0, 0.04550026389635857),
            (29.0, 1.0, 7.23782987174e-08),
            (55.5, 1.0, 9.345901508209303e-14),
            (420.0, 1.0, 2.4403171159754094e-93),
            (0.01, 2.0, 0.9950124791926823),
            (0.9, 2.0, 0.6376281516217732),
            (4.0, 2.0, 0.1353352832366127),
            (29.0, 2.0, 5.043476625678882e-07),
            (55.5, 2.0, 8.878265478459647e-13),
            (420.0, 2.0, 6.282880511239445e-92),
            (0.01, 5.0, 0.9999994699729957),
            (0.9, 5.0, 0.9702216384097856),
            (4.0, 5.0, 0.5494159513527802),
            (29.0, 5.0, 2.3187585803101154e-05),
            (55.5, 5.0, 1.0300149544738762e-10),
            (420.0, 5.0, 1.4486048530975598e-88),
            (0.01, 30.0, 1.0),
            (0.9, 30.0, 1.0),
            (4.0, 30.0, 0.9999999961287696),
            (29.0, 30.0, 0.5175966978958983),
            (55.5, 30.0, 0.0031147830910325655),
            (420.0, 30.0, 2.5039592508301425e-70),
            (0.01, 400.0, 1.0),
            (0.9, 400.0, 1.0),
            (4.0, 400.0, 1.0),
            (29.0, 400.0, 1.0),
            (55.5, 400.0, 1.0),
            (420.0, 400.0, 0.23603032549884584),
        ];
        for (x, degrees, p) in expected {
            let value: f64 = chi_square_tail(x, degrees);
            assert!((value - p).abs() <= 1e-13 + 1e-10 * p, "{x} {degrees}: {value} {p}");
        }
        assert_eq!((chi_square_tail(0.0, 3.0), chi_square_tail(f64::INFINITY, 3.0)), (1.0, 0.0));
        assert!((normal_two_sided(-1.96) - 0.04999579029644087).abs() < 1e-15);
    }
}
