//! A check that no feature of the workspace changes how RocksDB is compiled, because compiling it takes a quarter of an
//! hour.

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::tools::workspace;

/// Returns what RocksDB is compiled with for cargo's arguments `choice`: its crate and all crates below it, with their
/// features.
fn rocksdb_with(choice: &[&str]) -> Result<Vec<String>> {
    let arguments = ["tree", "--offline", "--locked", "--no-dedupe", "--prefix", "depth", "--format", " {p} {f}"];
    let output = cargo().args(arguments).args(choice).output().context("cannot start cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let depth = |line: &str| line.split(' ').next().and_then(|depth| depth.parse::<u32>().ok());
    let mut lines = text.lines().skip_while(|line| !line.contains(" librocksdb-sys "));
    let top = lines.next().context("RocksDB is not compiled at all")?;
    let below = lines.take_while(|line| depth(line) > depth(top));
    let crates = [top].into_iter().chain(below).map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()));
    Ok(crates.map(str::to_owned).collect())
}

/// Returns the features of the crate `tidemill`, as cargo lists them.
fn features() -> Result<Vec<String>> {
    let packages = workspace()?;
    let face =
        packages.iter().find(|package| package["name"] == "tidemill").context("there is no package \"tidemill\"")?;
    Ok(face["features"].as_object().context("the package \"tidemill\" has no features")?.keys().cloned().collect())
}

#[test]
fn no_feature_changes_how_rocksdb_is_compiled() -> Result<()> {
    let face = ["-p", "tidemill", "--no-default-features", "-e", "normal,build", "--features"];
    let with = |features: &str| rocksdb_with(&[&face[..], &[features]].concat());
    let alone = with("rocksdb")?;
    assert!(alone.iter().any(|krate| krate.contains("bindgen")), "{alone:?}");
    let features = features()?;
    assert!(features.len() > 10, "{features:?}");
    for feature in features {
        assert_eq!(with(&format!("rocksdb,{feature}"))?, alone, "{feature}");
    }
    // The dependencies of tests, examples and this program change nothing either.
    assert_eq!(rocksdb_with(&["--workspace", "--all-features", "-e", "normal,build,dev"])?, alone);
    Ok(())
}
