//! Real servers on loopback, from PyPI, each in a virtual environment of its own: their pins conflict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, root, scratch};
use testkit::model_server::{Kind, MODEL, ModelServer};

#[derive(clap::Args)]
pub struct Args {
    /// The servers to run: triton, mlserver, kserve, tfserving; all by default.
    #[arg(value_name = "SERVER")]
    which: Vec<String>,
    /// The model they serve, an .onnx file; tfserving takes the .txt file beside it.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The first port: each server takes two of them, for REST and gRPC.
    #[arg(long, default_value_t = 8500)]
    port: u16,
}

/// Runs servers until they are interrupted.
pub fn run(args: &Args) -> Result<()> {
    let unknown = args.which.iter().find(|name| Kind::ALL.iter().all(|kind| kind.name() != *name));
    if let Some(unknown) = unknown {
        bail!("no server \"{unknown}\": there are {}", Kind::ALL.map(Kind::name).join(", "));
    }
    let wanted = |kind: &Kind| args.which.is_empty() || args.which.iter().any(|name| name == kind.name());
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let failed = set_up(&names)?;
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    let model = args.model.clone().unwrap_or_else(|| root().join("models/content_recommendation.onnx"));
    let model = fs::canonicalize(&model).with_context(|| format!("no model \"{}\"", model.display()))?;
    let folder = scratch("servers/run")?;
    let mut servers = Vec::new();
    for (kind, port) in kinds.into_iter().zip((args.port..).step_by(2)) {
        let addresses = [port, port + 1].map(|port| format!("127.0.0.1:{port}"));
        let [rest, grpc] = addresses;
        let server = ModelServer::start_on(kind, root(), &venvs(), &folder, &model, rest, grpc)?;
        for url in urls(&server) {
            println!("{:10} {url}", kind.name());
        }
        servers.push(server);
    }
    println!("Ctrl-C stops them");
    servers.iter_mut().try_for_each(ModelServer::wait)?;
    Ok(())
}

/// Returns the URLs by which a job reaches the model.
fn urls(server: &ModelServer) -> Vec<String> {
    let (rest, grpc) = (&server.rest, &server.grpc);
    match server.kind {
        Kind::Triton | Kind::MlServer => {
            vec![format!("oip+http://{rest}/{MODEL}"), format!("oip+grpc://{grpc}/{MODEL}")]
        }
        Kind::KServe => vec![
            format!("oip+http://{rest}/{MODEL}"),
            format!("oip+grpc://{grpc}/{MODEL}"),
            format!("tfs+http://{rest}/{MODEL}"),
        ],
        Kind::TfServing => vec![format!("tfs+grpc://{grpc}/{MODEL}")],
    }
}

/// Returns the folder of the virtual environments: `TIDEMILL_SERVERS` if set, which may outlive a clone.
pub fn venvs() -> PathBuf {
    std::env::var_os("TIDEMILL_SERVERS").map_or_else(|| cache("servers"), PathBuf::from)
}

/// Installs the servers that are not installed yet, all at the same time. Returns messages why some could not be
/// installed.
pub fn set_up(names: &[&str]) -> Result<Vec<String>> {
    fs::create_dir_all(venvs())?;
    let failures = std::thread::scope(|scope| {
        let running: Vec<_> = names.iter().map(|name| scope.spawn(|| install(name))).collect();
        running.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut failed = Vec::new();
    for (name, result) in names.iter().zip(failures) {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(format!("{name} cannot be had: {error:#}")),
            Err(_) => failed.push(format!("{name} cannot be had: its set-up panicked")),
        }
    }
    Ok(failed)
}

fn install(name: &str) -> Result<()> {
    venv(name, &root().join(format!("testkit/servers/{name}.txt")), &[]).map(drop)
}

/// Makes a virtual environment with what a file lists, unless it was made of the same files before; `included` are those that it
/// includes.
pub fn venv(name: &str, requirements: &Path, included: &[&Path]) -> Result<PathBuf> {
    let venv = venvs().join(name);
    // This file is written once everything is installed, because an incomplete folder would look like a complete one.
    let done = venv.join("installed.txt");
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let all = std::iter::once(requirements).chain(included.iter().copied());
    let wanted = all.map(read).collect::<Result<Vec<_>>>()?.concat();
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(venv);
    }
    println!("setup: {name}, in {}", venvs().display());
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .context("Python 3.11 with its venv module is needed (Debian: python3-venv)")?;
    quiet(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    fs::write(done, wanted)?;
    Ok(venv)
}

/// Runs a command without showing its output. Returns an error with the command's messages if it fails.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
