//! The programs that tests run (the examples, as processes) and the data that they read.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// Returns a command that runs an example with the flags of a job. It logs warnings only.
pub fn example(name: &str) -> Command {
    let mut command = small_example(name);
    command.args(["--log-level", "warn"]);
    command
}

/// Returns a command that runs an example in the project's folder. `cargo xtask test` has built it beside the test.
pub fn small_example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>").join("examples");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "\"{}\" is not built: run `cargo xtask test`, or `cargo build --release --workspace --all-features --examples`",
        path.display()
    );
    let mut command = Command::new(path);
    command.current_dir(project()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that is killed when this is dropped, if it has not ended.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Deref for Killed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Killed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// Returns the project's folder: the nearest folder, from the test's package upward, that has Cargo's lock file.
pub fn project() -> PathBuf {
    // Cargo sets this variable when it starts the test. The compiled-in path may be another clone's, because clones
    // that share a target folder may share this crate.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let project = Path::new(&own).ancestors().find(|folder| folder.join("Cargo.lock").exists());
    project.expect("a package of the workspace").to_owned()
}

/// Returns the path of a file of third-party data, which is no part of the project. The file is searched for in
/// `TIDEMILL_DATA`, and in `shared/data` in the project's folder and any folder above. If it is missing, returns `None`
/// and prints a line that says so; in CI the test fails.
pub fn data(name: &str) -> Option<PathBuf> {
    let project = project();
    let above = project.ancestors().map(|folder| folder.join("shared/data"));
    let folders = std::env::var_os("TIDEMILL_DATA").map(PathBuf::from).into_iter().chain(above);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not here, and CI must have it (TIDEMILL_DATA)");
        eprintln!("NOT RUN: {name} is not here; set TIDEMILL_DATA to the folder it is in");
    }
    found
}

/// Runs a program to its end, which must be a success. Returns its output.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\nended with {}: {errors}", output.status);
    output
}

/// Returns whether a program ended with an error of any kind but a bug: it was not killed and did not panic.
pub fn is_error(status: ExitStatus) -> bool {
    matches!(status.code(), Some(2..=5))
}

/// Runs a program to its end, which must be an error with this exit code. Returns the program's messages.
pub fn fail_with(code: i32, command: &mut Command) -> String {
    fail_as(command, |status| status.code() == Some(code))
}

/// Runs a program to its end, which must be an error. Returns the program's messages.
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
