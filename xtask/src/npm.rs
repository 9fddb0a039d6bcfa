//! Packages from the npm registry, through npm itself. None of their scripts is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian::{self, works};
use crate::{check, scratch};

/// Downloads a package and unpacks it. Returns the folder with its files.
pub fn fetch(package: &str, version: &str) -> Result<PathBuf> {
    npm()?;
    let folder = scratch(&format!("npm/{package}"))?;
    let name = format!("{package}@{version}");
    let packed = Command::new("npm").args(["pack", "--silent", &name]).current_dir(&folder).output()?;
    let said = String::from_utf8_lossy(&packed.stderr);
    ensure!(packed.status.success(), "npm cannot fetch {name}: {said}");
    let archive = String::from_utf8(packed.stdout)?;
    let archive = archive.lines().last().context("npm does not say what it has written")?;
    unpack(&folder, archive)?;
    Ok(folder.join("package"))
}

/// Installs a package into a folder of its own, with the packages that it needs.
pub fn install(folder: &Path, package: &str, version: &str) -> Result<()> {
    npm()?;
    fs::create_dir_all(folder)?;
    let name = format!("{package}@{version}");
    let mut command = Command::new("npm");
    command
        .args(["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(folder)
        .arg(&name);
    let installed = command.output()?;
    let said = String::from_utf8_lossy(&installed.stderr);
    ensure!(installed.status.success(), "npm cannot install {name}: {said}");
    Ok(())
}

/// Installs npm if it is missing.
fn npm() -> Result<()> {
    if !works(Command::new("npm").arg("--version")) {
        println!("setup: npm is not here; installing it");
        debian::install(&["npm"])?;
    }
    Ok(())
}

fn unpack(folder: &Path, archive: &str) -> Result<()> {
    check(Command::new("tar").args(["xzf", archive]).current_dir(folder))
}
