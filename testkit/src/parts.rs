//! The output of programs: the parts that they published, and the numbers in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Returns the lines of all visible parts in a folder, sorted.
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

/// Returns the objects in all visible parts of a folder, in the order of the parts; none if there is no such folder.
pub fn objects(folder: &Path) -> Vec<Value> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_part = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
    let mut parts: Vec<PathBuf> = entries.filter(is_part).collect();
    parts.sort();
    let texts: Vec<String> =
        parts.iter().map(|part| fs::read_to_string(part).expect("a part that can be read")).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// Asserts that both folders have the same lines, each equally often.
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

/// Returns the rows of a gzipped CSV file, each as a map from columns to values.
pub fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = fs::File::open(path).expect("data that can be read");
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// Returns whether the two numbers agree up to the relative difference `relative`.
pub fn agree(found: &Value, expected: &str, relative: f64) -> bool {
    let (Some(found), Ok(expected)) = (found.as_f64(), expected.parse::<f64>()) else { return false };
    (found - expected).abs() <= relative * expected.abs()
}
