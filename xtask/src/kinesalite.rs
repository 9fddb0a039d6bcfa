//! kinesalite, the emulator of Amazon Kinesis that tests start, from npm.

use anyhow::{Result, ensure};
use testkit::kinesalite::{PACKAGE, is_here, modules};

use crate::npm;
use crate::servers::venvs;

/// Installs the emulator if it is not here.
pub fn set_up() -> Result<()> {
    let modules = modules(&venvs());
    let (package, version) = PACKAGE;
    // Which version is there shows its own description.
    let description = std::fs::read_to_string(modules.join(package).join("package.json")).unwrap_or_default();
    if description.contains(&format!("\"version\": \"{version}\"")) && is_here(&modules) {
        return Ok(());
    }
    println!("setup: {package} {version}, in {}", venvs().display());
    npm::install(&venvs().join(package), package, version)?;
    ensure!(is_here(&modules), "{package} was installed, but node cannot load it: is it version 12 or later?");
    Ok(())
}
