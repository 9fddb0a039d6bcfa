//! Statistics against the numbers of Evidently 0.7.23 and of scipy, and folded distributions against exact ones.
//!
//! The data are synthetic. They were made with pandas 2.3.3, because Evidently 0.7.23 does not run with pandas 3.

use std::collections::BTreeMap;

use serde_json::Value;
use tidemill::drift::{
    Binning, Categories, Comparison, Distribution, DriftCheck, Method, MissingShare, Threshold, Vocabulary,
};

fn read(file: &str) -> String {
    super::read(file)
}

/// Returns the columns of a CSV file.
fn columns(file: &str) -> BTreeMap<String, Vec<String>> {
    let text = read(file);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in reader.records() {
        let row = row.unwrap();
        names.iter().zip(&row).for_each(|(name, cell)| columns.entry(name.clone()).or_default().push(cell.to_owned()));
    }
    columns
}

/// Collects numbers in three parts, the last of which comes first.
fn numbers(cells: &[String], exact_values: usize) -> Distribution {
    let mut parts = [(); 3].map(|()| Distribution::with_exact_values(exact_values));
    for (row, cell) in cells.iter().enumerate() {
        let value = if cell.is_empty() { None } else { Some(cell.parse().unwrap()) };
        parts[row % 3].add(value);
    }
    let [first, second, mut all] = parts;
    all.merge(&first);
    all.merge(&second);
    all
}

fn categories(cells: &[String], vocabulary: &Vocabulary) -> Categories {
    let mut all = Categories::default();
    cells.iter().for_each(|cell| all.add((!cell.is_empty()).then(|| vocabulary.category(cell))));
    all
}

const METHODS: [(Method, &str, &str); 8] = [
    (Method::Psi, "psi", "PSI"),
    (Method::KolmogorovSmirnov, "ks", "K-S p_value"),
    (Method::JensenShannon, "jensenshannon", "Jensen-Shannon distance"),
    (Method::Wasserstein, "wasserstein", "Wasserstein distance (normed)"),
    (Method::ChiSquare, "chisquare", "chi-square p_value"),
    (Method::Z, "z", "Z-test p_value"),
    (Method::KullbackLeibler, "kl_div", "Kullback-Leibler divergence"),
    (Method::Hellinger, "hellinger", "Hellinger distance"),
];

/// The largest differences by method, and how many numbers were compared.
#[derive(Default)]
struct Worst(BTreeMap<String, (f64, String, u32)>);

impl Worst {
    fn note(&mut self, of: &str, at: &str, value: f64, expected: f64) {
        assert!(value.is_finite(), "{of} of {at} is {value}");
        let (worst, worst_at, count) = self.0.entry(of.to_owned()).or_default();
        *count += 1;
        if (value - expected).abs() > *worst {
            (*worst, *worst_at) = ((value - expected).abs(), at.to_owned());
        }
    }

    fn print(&self, title: &str) {
        println!("{title}");
        self.0
            .iter()
            .for_each(|(of, (worst, at, count))| println!("  {of:20} {count:4} numbers, worst {worst:.2e} {at}"));
    }
}

/// Calls `f` for each column of each set, with its comparison by any check.
fn each_column(mut f: impl FnMut(&str, &Value, &dyn Fn(DriftCheck) -> Comparison)) {
    let expected: Value = serde_json::from_str(&read("evidently_0_7_23.json")).unwrap();
    for (set, expected) in expected["sets"].as_object().unwrap() {
        let (size, _) = set.split_once('_').unwrap();
        let (reference, window) = (columns(&format!("{size}_reference.csv")), columns(&format!("{set}.csv")));
        for (column, expected) in expected.as_object().unwrap() {
            let at = format!("{set}/{column}");
            let (of_reference, of_window) = (&reference[column], &window[column]);
            if expected["type"] == "num" {
                let sides = [of_reference, of_window].map(|cells| numbers(cells, Distribution::EXACT_VALUES));
                let deviation = sides[0].deviation().unwrap();
                assert!((deviation - expected["reference_std"].as_f64().unwrap()).abs() < 1e-11, "{at}: {deviation}");
                let mean = sides[0].mean().unwrap();
                assert!((mean - expected["reference_mean"].as_f64().unwrap()).abs() < 1e-11, "{at}: {mean}");
                f(&at, expected, &|check| check.values(&sides[0], &sides[1]).unwrap());
            } else {
                let mut names = of_reference.clone();
                names.sort();
                names.dedup();
                let vocabulary = Vocabulary::from(names);
                let sides = [of_reference, of_window].map(|cells| categories(cells, &vocabulary));
                f(&at, expected, &|check| check.categories(&sides[0], &sides[1]).unwrap());
            }
        }
    }
}

#[test]
fn all_statistics_are_those_of_evidently() {
    let (mut worst, mut seen, mut drifted) = (Worst::default(), 0, 0);
    each_column(|at, expected, compare| {
        seen += 1;
        for (method, name, _) in METHODS {
            let check = DriftCheck { method: Some(method), threshold: Threshold::Default, binning: Binning::Evidently };
            if let Some(value) = expected[name].as_f64() {
                let result = compare(check);
                worst.note(name, at, result.value, value);
                assert_eq!(result.n_reference, expected["reference_used"].as_u64().unwrap(), "{at}");
                assert_eq!(result.n, expected["current_used"].as_u64().unwrap(), "{at}");
                if method == Method::KolmogorovSmirnov {
                    let distance = result.kolmogorov_smirnov.unwrap().distance;
                    worst.note("ks_statistic", at, distance, expected["ks_statistic"].as_f64().unwrap());
                }
            }
        }
        let (default, expected) =
            (compare(DriftCheck { binning: Binning::Evidently, ..Default::default() }), &expected["default"]);
        let (_, _, title) = METHODS.iter().find(|(method, _, _)| *method == default.method).unwrap();
        assert_eq!(expected["method"], *title, "{at}");
        assert_eq!(expected["threshold"].as_f64().unwrap(), default.threshold, "{at}");
        assert_eq!(expected["drifted"].as_bool().unwrap(), default.drifted, "{at}");
        worst.note("default", at, default.value, expected["value"].as_f64().unwrap());
        drifted += u32::from(default.drifted);
    });
    worst.print("Evidently 0.7.23");
    assert_eq!((seen, drifted > 10, drifted < 40), (56, true, true));
    let counts: Vec<(&str, u32)> = worst.0.iter().map(|(of, (_, _, count))| (of.as_str(), *count)).collect();
    let expected = [
        ("chisquare", 16),
        ("default", 56),
        ("hellinger", 56),
        ("jensenshannon", 56),
        ("kl_div", 56),
        ("ks", 40),
        ("ks_statistic", 40),
        ("psi", 56),
        ("wasserstein", 40),
        ("z", 6),
    ];
    assert_eq!(counts, expected);
    worst.0.iter().for_each(|(of, (worst, at, _))| assert!(*worst < 1e-9, "{of}: {worst} {at}"));
}

#[test]
fn bins_of_the_reference_are_those_of_numpy() {
    let expected: Value = serde_json::from_str(include_str!("doane.json")).unwrap();
    let mut worst = Worst::default();
    each_column(|at, column, compare| {
        if column["type"] == "num" {
            let methods = [
                (Method::Psi, "psi"),
                (Method::JensenShannon, "jensen_shannon"),
                (Method::KullbackLeibler, "kullback_leibler"),
                (Method::Hellinger, "hellinger"),
            ];
            for (method, name) in methods {
                let result = compare(DriftCheck {
                    method: Some(method),
                    threshold: Threshold::Default,
                    binning: Binning::Reference,
                });
                worst.note(name, at, result.value, expected[at][name].as_f64().unwrap());
            }
        }
    });
    worst.print("numpy, bins of the reference");
    // Where both sides are equal, the formula of the Hellinger distance as NannyML has it is the root of a rounding
    // error.
    worst.0.iter().for_each(|(of, (worst, at, count))| {
        assert!(*worst < if of == "hellinger" { 3e-8 } else { 1e-9 } && *count == 40, "{of}: {worst} {at}")
    });
}

#[test]
fn missing_values_are_a_statistic_of_their_own() {
    for size in ["small", "large"] {
        let side = |name: &str| numbers(&columns(&format!("{size}_{name}.csv"))["since_last"], 100);
        let (reference, none, drifted) = (side("reference"), side("none"), side("drift"));
        let none = MissingShare::of_values(&reference, &none, MissingShare::THRESHOLD);
        let drifted = MissingShare::of_values(&reference, &drifted, MissingShare::THRESHOLD);
        assert!(!none.drifted && drifted.drifted && (0.1..0.2).contains(&drifted.value), "{none:?} {drifted:?}");
        assert!(none.p_value > 0.01 && drifted.p_value < 1e-9);
    }
}

/// Numbers from 0 to 1 of a generator by Knuth.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / 2f64.powi(53)
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.next().ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }
}

/// Six distributions, and each somewhat different.
fn draw(kind: usize, moved: bool, u: &mut Uniform) -> f64 {
    let d = if moved { 1.0 } else { 0.0 };
    match kind {
        0 => 50.0 + 10.0 * u.normal() + d,
        1 => (3.0 + 0.1 * d + u.normal()).exp(),
        2 => -(90.0 + 9.0 * d) * u.next().ln(),
        3 => u.next().powf(-1.0 / (1.5 - 0.05 * d)),
        4 if u.next() < 0.6 - 0.05 * d => 0.0,
        4 => -10.0 * (u.next() * u.next()).ln(),
        _ => u.next() * 2.0 - 1.0 + 0.02 * d,
    }
}

#[test]
fn folded_distributions_are_close_to_exact_ones() {
    let mut worst = Worst::default();
    for kind in 0..6 {
        for moved in [false, true] {
            let mut u = Uniform(20_261_130 + kind as u64);
            let mut draw_all =
                |n: u32, moved: bool| -> Vec<f64> { (0..n).map(|_| draw(kind, moved, &mut u)).collect() };
            let (reference, window) = (draw_all(20_000, false), draw_all(100_000, moved));
            let of = |values: &[f64], exact_values: usize| {
                let mut all = Distribution::with_exact_values(exact_values);
                values.iter().for_each(|value| all.add(Some(*value)));
                all
            };
            let (reference_exact, exact) = (of(&reference, 1_000_000), of(&window, 1_000_000));
            let folded = of(&window, Distribution::EXACT_VALUES);
            assert!(exact.is_exact() && !folded.is_exact());
            assert_eq!((exact.mean(), exact.deviation()), (folded.mean(), folded.deviation()));
            for reference in [&reference_exact, &of(&reference, Distribution::EXACT_VALUES)] {
                for (method, name, _) in METHODS {
                    for binning in [Binning::Evidently, Binning::Reference] {
                        let check = DriftCheck { method: Some(method), threshold: Threshold::Default, binning };
                        if matches!(method, Method::ChiSquare | Method::Z) {
                            continue;
                        }
                        let (expected, found) = (
                            check.values(&reference_exact, &exact).unwrap(),
                            check.values(reference, &folded).unwrap(),
                        );
                        let at = format!("{kind} {moved} {binning:?} reference exact {}", reference.is_exact());
                        worst.note(name, &at, found.value, expected.value);
                        if let (Some(found), Some(expected)) = (found.kolmogorov_smirnov, expected.kolmogorov_smirnov) {
                            worst.note("ks_statistic", &at, found.distance, expected.distance);
                            assert!(found.distance <= expected.distance);
                        }
                    }
                }
            }
        }
    }
    worst.print("folded against exact, 20,000 and 100,000 values");
    assert_eq!(worst.0.values().map(|(_, _, count)| count).sum::<u32>(), 7 * 48);
    // A p-value moves with its distance: by 0.0005 here, which is 0.06 standard deviations of the distance (1 / 129).
    worst
        .0
        .iter()
        .for_each(|(of, (worst, at, _))| assert!(*worst < if of == "ks" { 5e-2 } else { 1e-3 }, "{of}: {worst} {at}"));
}
