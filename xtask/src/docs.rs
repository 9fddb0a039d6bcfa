//! The documentation as a site. Its links, and what its pages say of files and functions, are checked by the tests.

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{check, root};

/// Builds the site into `target/book`.
pub fn run() -> Result<()> {
    let site = root().join("target/book");
    check(Command::new(mdbook()?).arg("build").arg(root()).arg("--dest-dir").arg(&site))?;
    println!("the documentation is in {}", site.join("index.html").display());
    Ok(())
}

/// Returns the program mdBook: the one on the PATH, or else one of our own, which is installed the first time.
fn mdbook() -> Result<PathBuf> {
    let on_path = Command::new("mdbook").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if on_path.is_ok_and(|status| status.success()) {
        return Ok("mdbook".into());
    }
    let tools =
        std::env::home_dir().context("there is no home folder to install mdBook in")?.join(".cache/tidemill/tools");
    let own = tools.join("bin/mdbook");
    if !own.exists() {
        println!("mdBook is not here; installing it into {} (some minutes)", tools.display());
        // Not into the project's target folder, which other commands may be waiting for.
        let mut install = Command::new("cargo");
        install.args([
            "install",
            "mdbook",
            "--version",
            "^0.5",
            "--locked",
            "--no-default-features",
            "--features",
            "search",
        ]);
        check(install.arg("--root").arg(tools).env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(own)
}
