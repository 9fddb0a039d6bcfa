//! What is on the machine, and the Debian packages of what is not.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Returns whether a command can be started and succeeds.
pub fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Installs Debian packages, where that is possible.
pub fn install(packages: &[&str]) -> Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    for arguments in [&["update"][..], &[&["install", "-y", "--no-install-recommends"][..], packages].concat()] {
        let mut apt = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            apt.args(["-n", "apt-get"]);
        }
        let done = apt.args(arguments).stdout(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            bail!(
                "cannot install {}: install them with your system's package manager, then run this again",
                packages.join(", ")
            );
        }
    }
    Ok(())
}
