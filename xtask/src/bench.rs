//! The examples against a plain loop without an engine.

use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    anyhow::bail!("to come")
}
