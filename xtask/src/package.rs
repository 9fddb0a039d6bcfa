//! Packs each published crate as `cargo publish` would, and checks what its package contains and says of itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tools::workspace;
use crate::{cargo, check, scratch};

/// Files that each package must contain. In the folders of the crates the licences are links to the project's.
const EXPECTED: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];
/// Feature that docs.rs builds without: RocksDB may take all the time that it gives.
const NOT_DOCUMENTED: &str = "rocksdb";
/// Largest package, compressed, in KiB. The largest one has 180; a model or a data set that slips in would be more.
const LARGEST: u64 = 400;

/// Packs the crates that are published, and checks the packages.
#[derive(clap::Args)]
pub struct Args {
    /// Compile each package by itself, too. It takes minutes, and leaves out RocksDB.
    #[arg(long)]
    verify: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let crates = published()?;
    let names: Vec<&str> = crates.iter().filter_map(|package| package["name"].as_str()).collect();
    let folder = scratch("package")?;
    let mut pack = cargo();
    // The working tree is packed as it is. Crates that are not on the registry yet are found among the packages.
    pack.args(["package", "--quiet", "--allow-dirty", "--no-default-features", "--target-dir"]).arg(&folder);
    names.iter().for_each(|name| _ = pack.args(["--package", name]));
    if !args.verify {
        pack.arg("--no-verify");
    }
    check(&mut pack)?;
    let mut faults = Vec::new();
    for package in &crates {
        let name = package["name"].as_str().context("a package without a name")?;
        let (files, kib) = (files(name)?, size(&folder, package)?);
        println!("{name:<20} {:>4} files, {kib:>4} KiB compressed", files.len());
        let of_crate = faults_of(package, &files, kib);
        faults.extend(of_crate.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Returns the crates of the workspace that may be published, as `cargo metadata` describes them.
fn published() -> Result<Vec<Value>> {
    let packages = workspace()?;
    // An empty list of registries is `publish = false`.
    Ok(packages.into_iter().filter(|package| package["publish"].is_null()).collect())
}

/// Returns the names of the files in a package.
fn files(name: &str) -> Result<Vec<String>> {
    let output = cargo().args(["package", "--list", "--allow-dirty", "--package", name]).output()?;
    ensure!(output.status.success(), "cargo package --list failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Returns the size of a package in KiB.
fn size(folder: &Path, package: &Value) -> Result<u64> {
    let (name, version) =
        (package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default());
    let path = folder.join("package").join(format!("{name}-{version}.crate"));
    let file = fs::metadata(&path).with_context(|| format!("no package {}", path.display()))?;
    Ok(file.len().div_ceil(1024))
}

/// Returns what is wrong with a package.
fn faults_of(package: &Value, files: &[String], kib: u64) -> Vec<String> {
    let missing = EXPECTED.iter().filter(|name| !files.iter().any(|file| file == *name));
    let mut faults: Vec<String> = missing.map(|name| format!("{name} is not in the package")).collect();
    if kib > LARGEST {
        faults.push(format!("{kib} KiB are more than {LARGEST}: see `include` in its Cargo.toml"));
    }
    if package["description"].as_str().is_none_or(str::is_empty) {
        faults.push("no description".to_owned());
    }
    for (list, most) in [("keywords", 5), ("categories", 5)] {
        let entries = package[list].as_array().map_or(0, Vec::len);
        if !(1..=most).contains(&entries) {
            faults.push(format!("{entries} {list}: the registry takes 1 to {most}"));
        }
    }
    faults.extend(undocumented(package).map(|feature| format!("docs.rs would not show feature {feature}")));
    faults
}

/// Returns the features that docs.rs would leave out, besides those that it must.
fn undocumented(package: &Value) -> impl Iterator<Item = &str> {
    let docs = &package["metadata"]["docs"]["rs"];
    let all = docs["all-features"].as_bool().unwrap_or_default();
    let named =
        |feature: &&str| docs["features"].as_array().is_some_and(|list| list.iter().any(|name| name == feature));
    let features = package["features"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    features.filter(move |name| !all && !["default", NOT_DOCUMENTED].contains(name) && !named(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_is_refused_for_what_it_lacks() {
        let whole = json!({
            "description": "Windows", "keywords": ["streaming"], "categories": ["science"],
            "features": { "default": ["kafka"], "kafka": [], "rocksdb": [] },
            "metadata": { "docs": { "rs": { "features": ["kafka"] } } },
        });
        let files = EXPECTED.map(str::to_owned);
        assert!(faults_of(&whole, &files, 100).is_empty());
        assert_eq!(faults_of(&whole, &files[1..], 100), ["README.md is not in the package"]);
        assert_eq!(faults_of(&whole, &files, LARGEST + 1).len(), 1);
        let mut bare = json!({ "features": { "kafka": [], "avro": [] }, "keywords": ["a", "b", "c", "d", "e", "f"] });
        assert_eq!(faults_of(&bare, &files, 100).len(), 5, "description, keywords, categories, two features");
        bare["metadata"] = json!({ "docs": { "rs": { "all-features": true } } });
        assert_eq!(undocumented(&bare).count(), 0);
    }

    #[test]
    fn what_only_the_repository_needs_is_not_published() -> Result<()> {
        let crates = published()?;
        let mut names: Vec<&str> = crates.iter().filter_map(|package| package["name"].as_str()).collect();
        names.sort_unstable();
        let expected = ["", "-connectors", "-engine", "-operators", "-state"].map(|part| format!("tidemill{part}"));
        assert_eq!(names, expected);
        Ok(())
    }
}
