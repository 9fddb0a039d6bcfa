//! Sets up the browser that the tests of the page drive, and the checks of accessibility that it runs.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::browser::{AXE, PACKAGES, PROGRAMS, axe};

use crate::debian::{install, works};
use crate::{npm, root};

pub fn set_up() -> Result<()> {
    if !PROGRAMS.iter().all(|program| works(Command::new(program).arg("--version"))) {
        println!("setup: Chromium or its driver is not here; installing them");
        install(&PACKAGES)?;
    }
    let script = axe(root());
    if !script.exists() {
        println!("setup: {} {}", AXE.0, AXE.1);
        let fetched = npm::fetch(AXE.0, AXE.1)?.join("axe.min.js");
        fs::create_dir_all(script.parent().context("a script is in a folder")?)?;
        fs::copy(&fetched, &script).with_context(|| format!("cannot copy {}", fetched.display()))?;
    }
    Ok(())
}
