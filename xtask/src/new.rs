//! A project of one's own, made from the template that `cargo generate` takes, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, cargo, check, rocksdb, root, setup};

#[derive(clap::Args)]
pub struct Args {
    /// The project's name, which is that of its package.
    name: String,
    /// The folder that is made for it; by default one of the project's name beside this repository.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let beside = || root().parent().unwrap_or(root()).join(&args.name);
    let folder = args.path.clone().unwrap_or_else(beside);
    make(&args.name, &folder)?;
    println!("{} is there: a program, its model and a simulated test. Next:", folder.display());
    println!("  cd {}", folder.display());
    println!("  cargo run -- --checkpoint-dir out/checkpoints");
    println!("  cargo test");
    Ok(())
}

/// Makes the project `name` in `folder`, which must not exist.
fn make(name: &str, folder: &Path) -> Result<()> {
    let is_named_well = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    ensure!(is_named_well, "{name:?} cannot be a package's name: a letter, then letters, digits, - and _");
    // Cargo would read this repository's settings for a project below it.
    if std::path::absolute(folder)?.starts_with(root()) {
        bail!("{} is in this repository: name a folder outside of it with --path", folder.display());
    }
    if folder.exists() {
        bail!("{} exists: name another folder with --path", folder.display());
    }
    let runtime = cache("onnxruntime/libonnxruntime.so");
    let mut env: Vec<String> = rocksdb::library()?.map_or_else(Vec::new, |rocksdb| rocksdb::variables(&rocksdb).into());
    env.push(format!("ORT_DYLIB_PATH = {:?}", runtime.display().to_string()));
    let values = [
        ("project-name", name.to_owned()),
        ("crate_name", name.replace('-', "_")),
        ("tidemill", format!("path = {:?}", root().display().to_string())),
        ("env", env.join(", ")),
    ];
    copy(&root().join("template"), folder, &values)?;
    fs::remove_file(folder.join("cargo-generate.toml"))?;
    // The versions that this repository was tested with. Cargo takes out what the project does not need.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    if !folder.ancestors().any(|folder| folder.join(".git").exists()) {
        check(Command::new("git").args(["init", "--quiet"]).arg(folder))?;
    }
    Ok(())
}

/// Compiles what the test of a new project compiles, apart from the project itself: with other features than the workspace
/// has, and without the checks of its tests.
pub fn compile_dependencies() -> Result<()> {
    println!("building what a project of one's own needs");
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("my-alerts");
    make("my-alerts", &folder)?;
    check(cargo_in(&folder)?.args(["test", "--release", "--no-run"]))?;
    check(cargo_in(&folder)?.args(["build", "--release"]))?;
    clean(&folder)
}

/// Removes what was compiled of the project itself: its folder has another name each time.
fn clean(folder: &Path) -> Result<()> {
    check(cargo_in(folder)?.args(["clean", "--quiet", "--release", "--package", "my-alerts"]))
}

/// Returns a command that runs cargo in a project of one's own. In release mode, and in the same target folder, it shares what
/// the workspace has compiled.
fn cargo_in(folder: &Path) -> Result<Command> {
    let program = std::env::current_exe()?;
    let release = program.ancestors().find(|folder| folder.ends_with("release"));
    let target = release.and_then(Path::parent).context("this program is in no target folder")?;
    let mut command = Command::new(cargo().get_program());
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    // `cargo xtask test` sets it for the harness. Build scripts look at it, so here, and then in the next build of the
    // workspace, half of all crates would be compiled again.
    command.env_remove("RUSTC_BOOTSTRAP");
    Ok(command)
}

/// Copies a folder of templates. Files whose name ends with `.liquid` have placeholders.
fn copy(from: &Path, to: &Path, values: &[(&str, String)]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("an entry has a name")?);
        if path.is_dir() {
            copy(&path, &target, values)?;
        } else if path.extension().is_some_and(|extension| extension == "liquid") {
            let text = fs::read_to_string(&path)?;
            let text = values.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
            fs::write(target.with_extension(""), text)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{cargo_in, clean, make};
    use crate::root;

    #[test]
    fn a_new_project_builds_runs_and_passes() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("my-alerts");
        let inside = make("my-alerts", &root().join("my-alerts")).unwrap_err().to_string();
        assert!(inside.contains("outside"), "{inside}");
        make("my-alerts", &folder).unwrap();
        assert!(make("my-alerts", &folder).unwrap_err().to_string().contains("--path"));
        let cargo = |arguments: &[&str]| {
            let mut command = cargo_in(&folder).unwrap();
            command.args(arguments);
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {text}");
            text.into_owned()
        };
        let tests = cargo(&["test", "--release"]);
        assert!(tests.contains("only_the_hot_machine_is_reported_and_each_window_once ... ok"), "{tests}");
        cargo(&["run", "--release", "--", "--checkpoint-dir", "out/checkpoints", "--http", "127.0.0.1:0"]);
        let alerts: Vec<String> = std::fs::read_dir(folder.join("out/alerts"))
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
            .collect();
        let lines: Vec<&str> = alerts.iter().flat_map(|text| text.lines()).collect();
        // The pump is hot in the second of two minutes.
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("\"machine\":\"pump-1\"")), "{lines:?}");
        clean(&folder).unwrap();
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let folder = std::env::temp_dir().join("tidemill-never-made");
        for name in ["", "1st", "a b", "a/b", "-x", "a\"b"] {
            assert!(make(name, &folder).unwrap_err().to_string().contains("name"), "{name}");
        }
        assert!(!folder.exists());
    }
}
