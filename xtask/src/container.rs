//! Checks that `Containerfile` builds what the project builds: nothing else compares the two.

use anyhow::{Context, Result};

use crate::tools::workspace;
use crate::{root, setup};

/// Returns the default of an `ARG` of the container file.
fn argument<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    let start = format!("ARG {name}=");
    text.lines().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("no {start} in Containerfile"))
}

fn containerfile() -> Result<String> {
    std::fs::read_to_string(root().join("Containerfile")).context("cannot read Containerfile")
}

#[test]
fn it_installs_what_set_up_installs() -> Result<()> {
    let text = containerfile()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    for package in setup::CLANG.iter().chain(&setup::OPENSSL) {
        assert!(words.contains(package), "{package} is not installed in Containerfile");
    }
    let onnx_runtime = format!("onnxruntime=={}", argument(&text, "ONNXRUNTIME")?);
    assert!(setup::PACKAGES.contains(&&*onnx_runtime), "set-up installs {:?}, not {onnx_runtime}", setup::PACKAGES);
    Ok(())
}

#[test]
fn its_features_exist_and_are_enough_for_its_example() -> Result<()> {
    let text = containerfile()?;
    let (example, features) = (argument(&text, "EXAMPLE")?, argument(&text, "FEATURES")?);
    let packages = workspace()?;
    let programs = packages.iter().find(|package| package["name"] == "programs");
    let programs = programs.context("no package of examples")?;
    let targets = programs["targets"].as_array().context("no targets")?;
    let target = targets.iter().find(|target| target["name"] == example).context("no such example")?;
    let required = target["required-features"].as_array().into_iter().flatten();
    let features: Vec<&str> = features.split(',').collect();
    for feature in required {
        assert!(features.iter().any(|name| feature == name), "{example} requires {feature}, which FEATURES leaves out");
    }
    for name in features {
        assert!(programs["features"].get(name).is_some(), "FEATURES names {name}, which the examples do not have");
    }
    assert_eq!(argument(&text, "RUST")?, programs["rust_version"].as_str().unwrap_or_default());
    Ok(())
}
