//! Packages from the npm registry, through npm itself. Nothing of them is run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian::{install, works};
use crate::{check, scratch};

/// Downloads a package and unpacks it. Returns the folder with its files.
pub fn fetch(package: &str, version: &str) -> Result<PathBuf> {
    if !works(Command::new("npm").arg("--version")) {
        println!("setup: npm is not here; installing it");
        install(&["npm"])?;
    }
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

fn unpack(folder: &Path, archive: &str) -> Result<()> {
    check(Command::new("tar").args(["xzf", archive]).current_dir(folder))
}
