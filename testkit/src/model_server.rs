//! A real model server on loopback, for tests and for use by hand: Triton, MLServer, KServe, or pythie-serving for
//! TensorFlow Serving's protocol.
//!
//! Known limit: KServe and pythie-serving listen on all interfaces, and have no setting to change that.

use std::fs;
use std::io::{self, Error};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::free_addresses;
use crate::server_process::ServerProcess;

/// Maximum time that a server may take to start.
const START: Duration = Duration::from_secs(120);
/// The model's name on every server.
pub const MODEL: &str = "ranking";

/// The kind of a model server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NVIDIA Triton: the binary in the package `nvidia-pytriton`.
    Triton,
    /// Seldon's MLServer.
    MlServer,
    /// KServe's Python server. Its V1 protocol is the prediction part of TensorFlow Serving's REST API.
    KServe,
    /// pythie-serving, which serves LightGBM models by TensorFlow Serving's gRPC method `Predict`.
    TfServing,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Triton, Self::MlServer, Self::KServe, Self::TfServing];

    /// Returns the name of the server's requirements and of its virtual environment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Triton => "triton",
            Self::MlServer => "mlserver",
            Self::KServe => "kserve",
            Self::TfServing => "tfserving",
        }
    }
}

/// A running model server, which is stopped when this is dropped.
pub struct ModelServer {
    pub kind: Kind,
    /// The project's folder `testkit/servers`.
    scripts: PathBuf,
    /// The virtual environment.
    venv: PathBuf,
    /// The folder that the server writes to.
    folder: PathBuf,
    /// The model's file, without `.onnx` or `.txt`.
    model: PathBuf,
    /// Address of the REST API, as `127.0.0.1:port`; pythie-serving has no REST API.
    pub rest: String,
    /// Address of the gRPC API, as `127.0.0.1:port`.
    pub grpc: String,
    process: Option<ServerProcess>,
}

impl ModelServer {
    /// Starts a server on free ports, with the model `model`.onnx (for pythie-serving: .txt) and its virtual
    /// environment in `venvs`.
    pub fn start(kind: Kind, project: &Path, venvs: &Path, folder: &Path, model: &Path) -> io::Result<Self> {
        let [rest, grpc] = free_addresses()?.map(|address| address.to_string());
        Self::start_on(kind, project, venvs, folder, model, rest, grpc)
    }

    /// Starts a server on given addresses.
    pub fn start_on(
        kind: Kind,
        project: &Path,
        venvs: &Path,
        folder: &Path,
        model: &Path,
        rest: String,
        grpc: String,
    ) -> io::Result<Self> {
        let (scripts, venv) = (project.join("testkit/servers"), venvs.join(kind.name()));
        let (folder, model) = (folder.join(kind.name()), model.to_owned());
        fs::create_dir_all(&folder)?;
        let mut server = Self { kind, scripts, venv, folder, model, rest, grpc, process: None };
        server.prepare()?;
        server.resume()?;
        Ok(server)
    }

    /// Writes the files that the server needs before it starts.
    fn prepare(&self) -> io::Result<()> {
        match self.kind {
            Kind::Triton => {
                let repository = self.folder.join("repository").join(MODEL);
                fs::create_dir_all(repository.join("1"))?;
                for file in ["config.pbtxt", "1/model.py"] {
                    fs::copy(self.scripts.join("triton").join(file), repository.join(file))?;
                }
                // The package has a starter of Python programs for every version of Python.
                let (version, triton) = (self.python("print('%d.%d' % sys.version_info[:2])")?, self.triton()?);
                let starter = triton.join("backends/python/triton_python_backend_stub");
                if fs::symlink_metadata(&starter).is_err() {
                    symlink(
                        triton.join("python_backend_stubs").join(version).join("triton_python_backend_stub"),
                        starter,
                    )?;
                }
            }
            Kind::TfServing => {
                let model = self.model.with_extension("txt");
                let pickle = self.folder.join(MODEL).with_extension("pickled");
                let make = "import lightgbm, pickle; \
                            pickle.dump(lightgbm.Booster(model_file=sys.argv[1]), open(sys.argv[2], 'wb'))";
                self.python_with(make, &[model, pickle])?;
                fs::write(self.folder.join("metadata.json"), "{}")?;
                let config = format!(
                    "model_config_list: {{ config: {{ name: '{MODEL}', base_path: '{}', model_platform: 'lightgbm' }} }}",
                    self.folder.display()
                );
                fs::write(self.folder.join("models.config"), config)?;
            }
            Kind::MlServer | Kind::KServe => {}
        }
        Ok(())
    }

    fn python(&self, program: &str) -> io::Result<String> {
        self.python_with(program, &[])
    }

    fn python_with(&self, program: &str, arguments: &[PathBuf]) -> io::Result<String> {
        let mut python = Command::new(self.venv.join("bin/python"));
        let output = python.args(["-c", &format!("import sys; {program}")]).args(arguments).output()?;
        if !output.status.success() {
            return Err(Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn packages(&self) -> io::Result<PathBuf> {
        self.python("import sysconfig; print(sysconfig.get_path('purelib'))").map(PathBuf::from)
    }

    fn triton(&self) -> io::Result<PathBuf> {
        Ok(self.packages()?.join("pytriton/tritonserver"))
    }

    fn command(&self) -> io::Result<Command> {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let (rest, grpc) = (port(&self.rest), port(&self.grpc));
        let mut command = match self.kind {
            Kind::Triton => {
                let triton = self.triton()?;
                let mut command = Command::new(triton.join("bin/tritonserver"));
                command.arg("--model-repository").arg(self.folder.join("repository"));
                command.arg("--backend-directory").arg(triton.join("backends"));
                command.args(["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--allow-metrics=false"]);
                command.arg(format!("--http-port={rest}")).arg(format!("--grpc-port={grpc}"));
                // The folders of Python itself, and of the packages that are installed for it.
                command.env(
                    "LD_LIBRARY_PATH",
                    self.python("import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")?,
                );
                command.env("TIDEMILL_SITE_PACKAGES", self.packages()?);
                command
            }
            Kind::MlServer => {
                let [metrics] = free_addresses()?;
                let mut command = Command::new(self.venv.join("bin/mlserver"));
                command.arg("start").arg(self.scripts.join("mlserver")).env("MLSERVER_HOST", "127.0.0.1");
                command.env("MLSERVER_HTTP_PORT", rest).env("MLSERVER_GRPC_PORT", grpc);
                command.env("MLSERVER_METRICS_PORT", metrics.port().to_string()).env("MLSERVER_PARALLEL_WORKERS", "0");
                command
            }
            Kind::KServe => {
                let mut command = Command::new(self.venv.join("bin/python"));
                command.arg(self.scripts.join("kserve_model.py")).args([
                    "--enable_grpc",
                    "true",
                    "--enable_docs_url",
                    "false",
                ]);
                command.args(["--http_port", &rest, "--grpc_port", &grpc]);
                command
            }
            Kind::TfServing => {
                let mut command = Command::new(self.venv.join("bin/python"));
                command.args(["-m", "pythie_serving.run"]).arg(self.folder.join("models.config"));
                command.args(["--port", &grpc, "--worker-count", "4", "--maximum-concurrent-rpcs", "-1"]);
                command.env("VERBOSITY_LEVEL", "0").env("LGBM_NTHREAD", "1");
                command
            }
        };
        command.current_dir(&self.folder).env("TIDEMILL_ONNX", self.model.with_extension("onnx"));
        Ok(command)
    }

    /// Gives Triton another version of the model, whose probabilities are those of the other class, and starts it anew.
    pub fn add_version(&mut self, version: u32) -> io::Result<()> {
        let model = self.folder.join("repository").join(MODEL);
        fs::create_dir_all(model.join(version.to_string()))?;
        fs::copy(model.join("1/model.py"), model.join(version.to_string()).join("model.py"))?;
        self.kill()?;
        self.resume()
    }

    /// Starts the server again after [`kill`](Self::kill), on the same ports.
    pub fn resume(&mut self) -> io::Result<()> {
        let addresses: Vec<&str> = match self.kind {
            Kind::TfServing => vec![&self.grpc],
            _ => vec![&self.rest, &self.grpc],
        };
        let is_ready = || addresses.iter().all(|address| TcpStream::connect(address).is_ok());
        let (mut command, log) = (self.command()?, self.folder.join("server.log"));
        self.process = Some(ServerProcess::start(self.kind.name(), &mut command, &log, START, is_ready)?);
        Ok(())
    }

    /// Kills the server with SIGKILL, and the processes that it started: Triton's Python processes would not always
    /// notice.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Waits until the server ends by itself.
    pub fn wait(&mut self) -> io::Result<()> {
        self.process.as_mut().map_or(Ok(()), ServerProcess::wait)
    }
}
