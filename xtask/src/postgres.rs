//! PostgreSQL's server, which tests start, kill and stop on loopback.

use anyhow::{Result, ensure};
use testkit::postgres::programs;

use crate::debian::install;

/// The Debian package of the server. The one that the package starts by itself is not used.
const PACKAGE: &str = "postgresql";

/// Installs the server if it is not here.
pub fn set_up() -> Result<()> {
    if programs().is_some() {
        return Ok(());
    }
    println!("setup: PostgreSQL is not here; installing it");
    install(&[PACKAGE])?;
    ensure!(programs().is_some(), "PostgreSQL was installed, but its programs are not where Debian has them");
    Ok(())
}
