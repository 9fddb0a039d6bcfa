//! Writes what `deploy/` has for Prometheus and Grafana.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use deploy::rules::Runbooks;
use deploy::{RUNBOOKS, files};

use crate::root;

#[derive(clap::Args)]
pub struct Args {
    /// Folder that the files are written to. Default: deploy, in the project's folder.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Address of the page of alerts where it is published, which each alert names as its runbook_url. Default: the
    /// page's path in the repository.
    #[arg(long, value_name = "URL", default_value = RUNBOOKS, hide_default_value = true)]
    runbooks: String,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = args.to.clone().unwrap_or_else(|| root().join("deploy"));
    for (name, content) in files(&Runbooks(args.runbooks.clone())) {
        let path = folder.join(name);
        let parent = path.parent().context("a file has no folder")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.strip_prefix(root()).unwrap_or(&path).display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_are_checked_in_are_what_is_written() {
        for (name, content) in files(&Runbooks(RUNBOOKS.to_owned())) {
            let path = root().join("deploy").join(&name);
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert!(there == content, "deploy/{name} is not what is written now: run `cargo xtask deploy`");
        }
    }
}
