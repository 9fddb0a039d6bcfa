//! Drift: statistics against Evidently, scipy, NannyML and river, and the operator against a plain computation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod broken;
mod estimates;
mod reference;
mod river;
mod worlds;

use std::io::Read;

use flate2::read::GzDecoder;

/// Reads a file of `reference/`, which may be compressed.
fn read(file: &str) -> String {
    let folder = testkit::project().join("tests/drift/reference");
    let mut text = String::new();
    match std::fs::File::open(folder.join(format!("{file}.gz"))) {
        Ok(compressed) => GzDecoder::new(compressed).read_to_string(&mut text).unwrap(),
        Err(_) => return std::fs::read_to_string(folder.join(file)).unwrap(),
    };
    text
}
