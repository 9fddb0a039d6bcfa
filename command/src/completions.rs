//! `tidemill completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;

pub fn run(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "tidemill", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
