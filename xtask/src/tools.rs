//! Helpers that all chores use: the project's folders, cargo, and the examples.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Returns the project's folder. Cargo passes it when it starts this program. The compiled-in path may be another
/// clone's, because clones that share a target folder may share the program.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&own).parent().unwrap_or(Path::new(".")).to_owned()
    });
    &ROOT
}

/// Returns a folder for files that can be created again.
pub fn cache(name: &str) -> PathBuf {
    root().join(".cache").join(name)
}

/// Creates an empty folder for files that can be created again.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let folder = cache(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Returns a command that runs cargo in the project's folder.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // This program may have been started before the set-up named another library in cargo's settings.
    if is_rocksdb_ours() {
        command.env_remove("ROCKSDB_LIB_DIR");
    }
    command
}

/// Returns the packages that `cargo metadata` lists for these arguments.
pub fn packages(arguments: &[&str]) -> Result<Vec<Value>> {
    let output = cargo().args(["metadata", "--format-version", "1"]).args(arguments).output()?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"].as_array().cloned().context("cargo metadata lists no packages")
}

/// Returns the packages of the workspace.
pub fn workspace() -> Result<Vec<Value>> {
    packages(&["--offline", "--no-deps"])
}

/// Adds the Rust files of a folder and of all folders below, if the folder exists.
pub fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    files_with("rs", folder, found)
}

/// Adds the files with an extension, of a folder and of all folders below, if the folder exists.
pub fn files_with(extension: &str, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_with(extension, &path, found)?;
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the folder of the built libraries in the user's cache folder: clones share it.
pub fn rocksdb_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("tidemill/rocksdb"))
}

/// Returns whether `ROCKSDB_LIB_DIR` names a library that was built here, and not one that the user chose.
pub fn is_rocksdb_ours() -> bool {
    let chosen = std::env::var_os("ROCKSDB_LIB_DIR");
    chosen.zip(rocksdb_folder()).is_some_and(|(chosen, home)| Path::new(&chosen).starts_with(home))
}

/// Locks a mutex. A panic elsewhere ends this program, so its value is used only to say so.
pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command, with its output shown to the user. Returns an error if it fails.
pub fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Builds all examples, with cargo's output shown to the user.
pub fn build_examples() -> Result<()> {
    println!("building the examples");
    check(&mut everything(&["--examples"]))
}

/// Builds all examples and the measurements, with cargo's output shown to the user.
pub fn build_measurements() -> Result<()> {
    println!("building the examples and the measurements");
    check(&mut everything(&["--examples", "--bins"]))
}

/// Builds one measurement, with cargo's output shown to the user.
pub fn build_measurement(name: &str) -> Result<()> {
    println!("building {name}");
    check(&mut everything(&["--bin", name]))
}

/// Returns a cargo command that builds targets with all features. It selects what the tests select, so that they share
/// what is compiled.
fn everything(targets: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["build", "--release", "--workspace", "--all-features"]).args(targets);
    command
}

/// Returns a command that runs an example.
pub fn example(name: &str) -> Result<Command> {
    built(&Path::new("examples").join(name))
}

/// Returns a command that runs a measurement.
pub fn measurement(name: &str) -> Result<Command> {
    built(Path::new(name))
}

/// Returns a command that runs a program which was built beside this one.
fn built(path: &Path) -> Result<Command> {
    let own = std::env::current_exe()?;
    let path = own.parent().context("the path of this program has no folder")?.join(path);
    let mut command = Command::new(path);
    command.current_dir(root());
    Ok(command)
}
