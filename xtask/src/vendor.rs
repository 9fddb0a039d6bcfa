//! Files of others that are part of the project: which version of which package they come from, and their hashes.

use anyhow::{Result, bail};

use crate::{npm, root};

/// The package that draws the charts of the page. A newer version: change this line, run `cargo xtask vendor`, copy the
/// files that it names, and write their hashes down below.
const UPLOT: (&str, &str) = ("uplot", "1.6.32");

/// A file: its path in the package, its path here, and its SHA-256.
const FILES: [(&str, &str, &str); 3] = [
    (
        "dist/uPlot.iife.min.js",
        "engine/src/page/vendor/uPlot.iife.min.js",
        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    ),
    (
        "dist/uPlot.min.css",
        "engine/src/page/vendor/uPlot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
    (
        "LICENSE",
        "engine/src/page/vendor/uPlot.LICENSE",
        "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    ),
];

/// Fetches the packages again and compares them with the files that are here.
pub fn run() -> Result<()> {
    let (package, version) = UPLOT;
    let fetched = npm::fetch(package, version)?;
    let mut differ = Vec::new();
    for (theirs, ours, _) in FILES {
        let theirs = fetched.join(theirs);
        if std::fs::read(&theirs)? != std::fs::read(root().join(ours))? {
            differ.push(format!("{ours} differs from {}", theirs.display()));
        }
    }
    if !differ.is_empty() {
        bail!("{package} {version}:\n{}", differ.join("\n"));
    }
    println!("{} files are as in {package} {version}", FILES.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::tools::files_with;

    #[test]
    fn each_vendored_file_has_its_hash() {
        for (_, path, expected) in FILES {
            let content = std::fs::read(root().join(path)).unwrap();
            let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, expected, "{path}: run `cargo xtask vendor`");
        }
    }

    /// The page is part of each program, and is loaded over slow connections at night.
    #[test]
    fn the_scripts_of_the_page_stay_small() {
        const LIMIT: usize = 72_000;
        let mut scripts = Vec::new();
        files_with("js", &root().join("engine/src/page"), &mut scripts).unwrap();
        let compressed = |path: &std::path::PathBuf| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&std::fs::read(path).unwrap()).unwrap();
            encoder.finish().unwrap().len()
        };
        let all: usize = scripts.iter().map(compressed).sum();
        assert!(scripts.len() > 10 && all < LIMIT, "{} scripts have {all} bytes, compressed", scripts.len());
    }
}
