//! Prometheus and its tool, where `cargo xtask setup` puts them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns where a program of Prometheus (`prometheus`, `promtool`) is: in a project that has been set up, or else on
/// the path.
pub fn program(project: &Path, name: &str) -> PathBuf {
    let unpacked = project.join(".cache/prometheus/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { name.into() }
}

/// Runs `promtool` with these arguments in a folder, which must be a success. Returns what it says.
pub fn promtool(project: &Path, folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program(project, "promtool"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("promtool is needed ({e}): `cargo xtask setup` gets it"));
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "promtool {arguments:?}: {status}: {said}");
    said
}
