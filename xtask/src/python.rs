//! Checks the Python package: its style, and its tests with the versions that are pinned.

use std::process::Command;

use anyhow::Result;

use crate::servers::venv;
use crate::{check, root};

pub fn run() -> Result<()> {
    let package = root().join("python");
    let venv = venv("python", &package.join("requirements-test.txt"), &[&root().join("models/requirements.txt")])?;
    let tool = |name: &str| {
        let mut command = Command::new(venv.join("bin").join(name));
        command.current_dir(&package).env("PYTHONPATH", package.join("src")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    check(tool("ruff").args(["check", "--no-cache", "."]))?;
    check(tool("ruff").args(["format", "--check", "--no-cache", "."]))?;
    check(tool("python").args(["-m", "pytest", "-p", "no:cacheprovider"]))
}
