//! `tidemill savepoint restore`: runs the job's program with the flags that restore a savepoint.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tidemill_state::{ClaimMode, ErrorKind};

use super::find::open;
use crate::failure::Failure;

/// The flags that are added.
const FLAGS: [&str; 3] = ["--checkpoint-dir", "--restore", "--claim-mode"];

/// Does not return if the program starts: signals and the exit code are the program's.
pub fn run(at: &Path, mode: ClaimMode, store: &Path, program: &[OsString]) -> Result<String, Failure> {
    // The program examines every byte of it.
    open(Some(store), at)?;
    let (program, arguments) = program.split_first().ok_or_else(|| invalid("name the job's program after --"))?;
    if let Some(flag) = arguments.iter().find_map(|argument| added(argument)) {
        return Err(invalid(&format!("the program's arguments have {flag}, which is added: leave it out")));
    }
    let mut savepoint = OsString::from("savepoint:");
    savepoint.push(at);
    let added = [store.as_os_str().to_owned(), savepoint, mode.to_string().into()];
    let added = FLAGS.into_iter().map(OsString::from).zip(added).flat_map(|(flag, value)| [flag, value]);
    // What comes after `--` is no flag.
    let (flags, rest) = arguments.split_at(arguments.iter().position(|one| one == "--").unwrap_or(arguments.len()));
    let error = Command::new(program).args(flags).args(added).args(rest).exec();
    let text = format!(
        "cannot start \"{0}\": {error}; name a program that is there: tidemill savepoint restore {1} --store {2} -- PROGRAM",
        program.display(),
        at.display(),
        store.display()
    );
    Err(Failure::new(ErrorKind::Invalid, text))
}

fn added(argument: &OsString) -> Option<&'static str> {
    let argument = argument.to_str()?;
    FLAGS
        .into_iter()
        .find(|flag| argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

fn invalid(text: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, text)
}
