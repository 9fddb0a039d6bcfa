//! Prometheus and `promtool`, which check metrics, rules and dashboards in tests. They come out of Debian's package,
//! which is unpacked and not installed, so no service is started.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use testkit::prometheus::program;

use crate::debian::works;
use crate::{cache, check, root};

/// Unpacks Debian's package into `.cache/prometheus`, unless its programs are there or on the path.
pub fn set_up() -> Result<()> {
    let folder = cache("prometheus");
    if ["prometheus", "promtool"].into_iter().all(|name| works(Command::new(program(root(), name)).arg("--version"))) {
        return Ok(());
    }
    println!("setup: Prometheus, in .cache/prometheus");
    let download = cache("prometheus.download");
    fs::create_dir_all(&download).with_context(|| format!("cannot create {}", download.display()))?;
    let advice = "promtool is needed: install Prometheus with your system's package manager, then run this again";
    check(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(&download).stderr(Stdio::null()))
        .context(advice)?;
    let mut packages = fs::read_dir(&download)?.flatten().map(|entry| entry.path());
    let package = packages.find(|path| path.extension().is_some_and(|end| end == "deb")).context(advice)?;
    check(Command::new("dpkg").arg("-x").arg(package).arg(&folder)).context(advice)?;
    fs::remove_dir_all(&download).with_context(|| format!("cannot remove {}", download.display()))
}
