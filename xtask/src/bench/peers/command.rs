//! The commands that run the programs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::programs::{Build, Engine, Job, Program};
use super::setup::{Ready, folder, model, peer};
use crate::bench::measure::with_runtime;
use crate::measurement;

/// Returns the name of Tidemill's program for a job.
pub fn tidemill_program(job: Job) -> &'static str {
    if job == Job::Iot { "peer_iot" } else { "peer_fraud" }
}

/// The folders and files of a run.
pub struct Place<'a> {
    pub data: &'a Path,
    pub out: &'a Path,
    pub against: Option<&'a Path>,
}

impl Place<'_> {
    /// Returns a command that runs a program here.
    ///
    /// # Errors
    /// Why the engine could not be set up, if it could not be.
    pub fn command(&self, program: Program, ready: &Ready) -> Result<Command> {
        match program.engine {
            Engine::Limit => Ok(self.in_rust(program, peer("peer_limit"))),
            Engine::Timely { workers } => {
                let mut command = self.in_rust(program, peer("peer_timely"));
                command.args(["--workers", &workers.to_string()]);
                Ok(command)
            }
            Engine::Renoir => {
                let mut command = ready.renoir()?;
                command.arg("--data").arg(self.data).arg("--out").arg(self.out);
                Ok(command)
            }
            Engine::Tidemill { workers, checkpoints, of } => self.tidemill(program.job, workers, checkpoints, of),
            Engine::Flink { backend, checkpoints } => {
                let mut command = ready.flink()?;
                command.arg(if program.job == Job::Iot { "IotWindow" } else { "FraudVelocity" });
                command.env("BACKEND", backend).env("CHECKPOINT_MS", if checkpoints { "1000" } else { "0" });
                Ok(self.by_environment(program, command))
            }
            Engine::Bytewax { recovery } => {
                let mut command = ready.bytewax()?;
                command.args(["-m", "bytewax.run", "-w", "2"]);
                if recovery {
                    command.arg("-r").arg(self.out.join("recovery")).args(["-s", "1", "-b", "0"]);
                }
                let file = if program.job == Job::Iot { "iot" } else { "fraud" };
                command.arg(format!("{}:flow", folder().join(format!("bytewax/{file}.py")).display()));
                Ok(self.by_environment(program, command))
            }
        }
    }

    /// Returns a command that must run before the program, if there is one.
    pub fn preparation(&self, program: Program, ready: &Ready) -> Result<Option<Command>> {
        if program.engine != (Engine::Bytewax { recovery: true }) {
            return Ok(None);
        }
        let recovery = self.out.join("recovery");
        std::fs::create_dir_all(&recovery)?;
        let mut command = ready.bytewax()?;
        command.args(["-m", "bytewax.recovery"]).arg(recovery).arg("2");
        Ok(Some(command))
    }

    /// Adds the arguments of the programs of the package `peers`.
    fn in_rust(&self, program: Program, mut command: Command) -> Command {
        command.arg(program.job.name()).arg("--data").arg(self.data).arg("--out").arg(self.out);
        if program.job == Job::FraudScore {
            command.arg("--model").arg(model());
        }
        with_runtime(&mut command);
        command
    }

    fn tidemill(&self, job: Job, workers: usize, checkpoints: Option<&str>, of: Build) -> Result<Command> {
        let (name, input) = (tidemill_program(job), if job == Job::Iot { "iot" } else { "tx" });
        let mut command = match of {
            Build::This => measurement(name)?,
            Build::Other => Command::new(self.against.context("--against names no folder")?.join(name)),
        };
        command.args(["--log-level", "warn", "--workers", &workers.to_string(), "--input"]);
        command.arg(self.data.join(format!("{input}.jsonl"))).arg("--out").arg(self.out);
        if job == Job::FraudScore {
            command.arg("--model").arg(model());
        }
        if let Some(interval) = checkpoints {
            command.arg("--checkpoint-dir").arg(self.out.join("checkpoints"));
            command.args(["--checkpoint-interval", interval]);
        }
        with_runtime(&mut command);
        Ok(command)
    }

    /// Passes the folders by way of the environment, as programs in Java and Python take them.
    fn by_environment(&self, program: Program, mut command: Command) -> Command {
        command.env("DATA", self.data).env("OUT", self.out);
        if program.job == Job::FraudScore {
            command.env("MODEL", model());
        }
        command
    }
}
