//! Checks the Python package: its style, and its tests with the versions that are pinned.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::servers::venvs;
use crate::{check, root};

pub fn run() -> Result<()> {
    let (venv, package) = (venvs().join("python"), root().join("python"));
    let requirements = package.join("requirements-test.txt");
    let models = root().join("models/requirements.txt");
    let wanted = [&requirements, &models].map(fs::read).into_iter().collect::<std::io::Result<Vec<_>>>()?.concat();
    // This file is written once everything is installed.
    let done = venv.join("installed.txt");
    if !fs::read(&done).is_ok_and(|installed| installed == wanted) {
        println!("setup: what the Python package is tested with, in {}", venv.display());
        fs::create_dir_all(venvs())?;
        check(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
            .context("Python 3.11 with its venv module is needed (Debian: python3-venv)")?;
        check(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "-r"]).arg(&requirements))?;
        fs::write(done, wanted)?;
    }
    let tool = |name: &str| {
        let mut command = Command::new(venv.join("bin").join(name));
        command.current_dir(&package).env("PYTHONPATH", package.join("src")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    check(tool("ruff").args(["check", "--no-cache", "."]))?;
    check(tool("ruff").args(["format", "--check", "--no-cache", "."]))?;
    check(tool("python").args(["-m", "pytest", "-p", "no:cacheprovider"]))
}
