//! What has to be the same in all processes of a job, and what is said where it is not.

use serde::{Deserialize, Serialize};

/// What has to be the same in all processes of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The job's name: it is what makes the processes one cluster.
    pub(crate) job: String,
    /// The number of processes.
    pub(crate) processes: usize,
    /// What is to be restored. Process 0 decides; another one may only say the same, or `auto`.
    pub(crate) restore: String,
    /// What tells one build of the program from another; empty where that is not known.
    pub(crate) program: String,
    /// Settings that must not differ, with their values.
    pub(crate) settings: Vec<(String, String)>,
}

/// What does not fit, and the name it is counted under.
pub(super) struct Misfit {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl Identity {
    /// Whether a process can be one of this job: all that differs, with both sides.
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
        // Whoever says nothing of it goes by process 0.
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
