//! The identity of a job: what has to be the same in all of its processes, and the message when it is not.

use serde::{Deserialize, Serialize};

use crate::error::{JobError, Remedy};

/// The identity of a job, which has to be the same in all of its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The job's name: processes with the same name belong together.
    pub(crate) job: String,
    /// The number of processes.
    pub(crate) processes: usize,
    /// The setting of what is restored. Process 0 decides; another process may only have the same, or `auto`.
    pub(crate) restore: String,
    /// Text that distinguishes one build of the program from another; empty if that is not known.
    pub(crate) program: String,
    /// The settings that must not differ, with their values.
    pub(crate) settings: Vec<(String, String)>,
}

/// The reason why a process does not fit, and the name under which this is counted.
pub(super) struct Misfit {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    /// The names of the settings that differ.
    pub(super) settings: Vec<String>,
}

impl Misfit {
    /// Returns the error of a job that cannot start because of it.
    pub(super) fn error(&self) -> JobError {
        JobError::cluster_of(self.reason.clone(), remedies(&self.settings))
    }
}

/// The settings of a job that an error of the mesh may name as its remedies.
const SETTINGS: [&str; 8] =
    ["hosts", "process", "restore", "workers", "key_groups", "checkpoint_dir", "renamed", "drop_state"];

/// Returns the remedies for settings that differ or are wrong. What is no setting of the job (another build of the
/// program, another version of Tidemill) is left out.
pub(super) fn remedies(settings: &[String]) -> Vec<Remedy> {
    SETTINGS.into_iter().filter(|known| settings.iter().any(|name| name == known)).map(Remedy::Setting).collect()
}

impl Identity {
    /// Checks whether a process can be one of this job. The error names all differences, with both sides.
    pub(super) fn fits(&self, me: usize, other: &Self, index: usize) -> Result<(), Misfit> {
        if self.job != other.job {
            let reason = format!("it is a process of job \"{}\", this is \"{}\"", other.job, self.job);
            return Err(Misfit { kind: "other_job", reason, settings: Vec::new() });
        }
        let (mut differences, mut settings) = (Vec::new(), Vec::new());
        let mut compare = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours {
                differences.push(format!("process {index} has {what} {theirs}, process {me} has {ours}"));
                settings.push(what.split(' ').next().unwrap_or_default().to_owned());
            }
        };
        compare("hosts with as many processes as", &other.processes.to_string(), &self.processes.to_string());
        // A process with the default setting follows process 0.
        if (me == 0 && other.restore != "auto") || (index == 0 && self.restore != "auto") {
            compare("restore", &other.restore, &self.restore);
        }
        if ![&self.program, &other.program].contains(&&String::new()) {
            compare("another build of the program:", &other.program, &self.program);
        }
        for (what, ours) in &self.settings {
            let theirs = other.settings.iter().find(|(name, _)| name == what).map_or("none", |(_, value)| value);
            compare(what, theirs, ours);
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Misfit { kind: "settings", reason: differences.join("; "), settings }),
        }
    }
}
