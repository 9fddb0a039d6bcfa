//! The identity of a job: what has to be the same in all of its processes, and the message when it is not.

use serde::{Deserialize, Serialize};

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
}

impl Identity {
    /// Checks whether a process can be one of this job. The error names all differences, with both sides.
    pub(super) fn fits(&self, me: usize, other: &Self, index: usize) -> Result<(), Misfit> {
        if self.job != other.job {
            let reason = format!("it is a process of job \"{}\", this is \"{}\"", other.job, self.job);
            return Err(Misfit { kind: "other_job", reason });
        }
        let mut differences = Vec::new();
        let mut compare = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours {
                differences.push(format!("process {index} has {what} {theirs}, process {me} has {ours}"));
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
            false => Err(Misfit { kind: "settings", reason: differences.join("; ") }),
        }
    }
}
