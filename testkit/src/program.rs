//! Programs that tests run: the examples, as processes; and the data they read.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// An example, as `cargo xtask test` built it beside the test.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>").join("examples");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "\"{}\" is not built: run `cargo xtask test`, or `cargo build --release --all-features --examples`",
        path.display()
    );
    let mut command = Command::new(path);
    command.args(["--log-level", "warn"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A file of the third-party data, which is no part of the project. Looked for in `TIDEMILL_DATA` and in
/// `shared/data` beside any folder above. Where it is not, the test says so, and fails in CI.
pub fn data(name: &str) -> Option<PathBuf> {
    // Cargo says where the test is when it starts it: clones that share a target folder may share this crate.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let above = Path::new(&own).ancestors().map(|folder| folder.join("shared/data"));
    let folders = std::env::var_os("TIDEMILL_DATA").map(PathBuf::from).into_iter().chain(above);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not here, and CI must have it (TIDEMILL_DATA)");
        eprintln!("NOT RUN: {name} is not here; set TIDEMILL_DATA to the folder it is in");
    }
    found
}

/// Runs it to its end, which must be a good one.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\nended with {}: {errors}", output.status);
    output
}

/// Whether a program ended with an error of its own that is no bug, of whatever kind: it was not killed, and did not panic.
pub fn is_error(status: ExitStatus) -> bool {
    matches!(status.code(), Some(2..=5))
}

/// Runs it to its end, which must be an error of the kind that has this exit code; what it said.
pub fn fail_with(code: i32, command: &mut Command) -> String {
    fail_as(command, |status| status.code() == Some(code))
}

/// Runs it to its end, which must be an error; what it said.
pub fn fail(command: &mut Command) -> String {
    fail_as(command, is_error)
}

fn fail_as(command: &mut Command, wanted: impl Fn(ExitStatus) -> bool) -> String {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(wanted(output.status), "{command:?}\nended with {}: {errors}", output.status);
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}
