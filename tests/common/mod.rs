//! What the tests that run whole programs share: programs, data, folders of parts.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// An example, as `cargo xtask test` built it beside the test.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>").join("examples");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "\"{}\" is not built: run `cargo xtask test`, or `cargo build --release --examples`",
        path.display()
    );
    let mut command = Command::new(path);
    command.args(["--log-level", "warn"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A file of the third-party data, which is no part of the project. Looked for in `TIDEMILL_DATA` and in
/// `shared/data` beside any folder above. Where it is not, the test says so, and fails in CI.
pub fn data(name: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/data"));
    let folders = std::env::var_os("TIDEMILL_DATA").map(PathBuf::from).into_iter().chain(above);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not here, and CI must have it (TIDEMILL_DATA)");
        eprintln!("NOT RUN: {name} is not here; set TIDEMILL_DATA to the folder it is in");
    }
    found
}

/// Runs it to its end, which must be a good one.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\nended with {}: {errors}", output.status);
    output
}

/// Runs it to its end, which must be an error; what it said.
pub fn fail(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}\nended with {}: {errors}", output.status);
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

/// The lines of all visible parts of a folder, sorted.
pub fn lines(folder: &Path) -> Vec<String> {
    let parts = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let visible = parts
        .map(|part| part.expect("a folder that can be listed").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")));
    let texts: Vec<String> = visible.map(|part| fs::read_to_string(part).expect("a part that can be read")).collect();
    let mut lines: Vec<String> = texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
    lines.sort_unstable();
    lines
}

/// Both folders hold the same lines, each as often.
pub fn same_lines(expected: &Path, found: &Path) {
    let (expected, found) = (lines(expected), lines(found));
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (mut differences, found_counts) = (count(&expected), count(&found));
    found_counts.into_iter().for_each(|(line, times)| *differences.entry(line).or_default() -= times);
    differences.retain(|_, times| *times != 0);
    let first: Vec<String> = differences.iter().take(6).map(|(line, times)| format!("{times:+} {line}")).collect();
    assert!(
        differences.is_empty(),
        "{} lines expected, {} found; {} differ (+ missing, - too many):\n{}",
        expected.len(),
        found.len(),
        differences.len(),
        first.join("\n")
    );
}

/// The rows of a gzipped CSV file, by column.
pub fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = fs::File::open(path).expect("data that can be read");
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// Whether the two numbers agree to `relative`.
pub fn agree(found: &Value, expected: &str, relative: f64) -> bool {
    let (Some(found), Ok(expected)) = (found.as_f64(), expected.parse::<f64>()) else { return false };
    (found - expected).abs() <= relative * expected.abs()
}

/// How many times the cases of a quick run there are: `TIDEMILL_SOAK`, which `cargo xtask soak` sets, or once.
pub fn times() -> usize {
    std::env::var("TIDEMILL_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Some of these, in their order, others each time; a soak takes more of them, or all.
pub fn some<T>(of: impl IntoIterator<Item = T>, quick: usize) -> Vec<T> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let all: Vec<T> = of.into_iter().collect();
    let mut taken = rand::seq::index::sample(&mut chance, all.len(), (quick * times()).min(all.len())).into_vec();
    taken.sort_unstable();
    all.into_iter().enumerate().filter(|(at, _)| taken.binary_search(at).is_ok()).map(|(_, one)| one).collect()
}

/// A seed: `TIDEMILL_SEED` to run one again, or a new one. Printed with every failure.
pub fn seed() -> u64 {
    let seed = std::env::var("TIDEMILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("TIDEMILL_SEED={seed}");
    seed
}
