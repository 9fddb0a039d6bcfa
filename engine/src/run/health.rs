//! The probes of a job: `/livez` says whether a restart would help, `/readyz` whether the job does its work.
//!
//! A dependency that is down (a broker, an object store, a model server) is no reason to restart the job, so no check
//! looks at one.

use std::time::Duration;

use super::execution::Run;
use super::phase::Phase;

/// Time without a step from which on a worker is taken for stuck. No turn of an operator takes that long: what blocks
/// runs on threads of its own.
const STUCK: Duration = Duration::from_secs(30);

/// The answer of a probe: its HTTP status and its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) status: u16,
    pub(super) body: String,
}

impl From<Probe> for (u16, String) {
    fn from(Probe { status, body }: Probe) -> Self {
        (status, body)
    }
}

/// One thing that a probe looks at, and what is wrong with it.
struct Check {
    name: String,
    fault: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, fault: Option<String>) -> Self {
        Self { name: name.into(), fault }
    }
}

/// Answers `/livez`: 200, or 503 when a restart would help, because a worker is stuck or its checkpoint thread is gone.
pub(super) fn live(run: &Run, verbose: bool) -> Probe {
    let first = run.settings.first_worker();
    let checks = run.process.progress.pulses.iter().enumerate().flat_map(|(at, pulse)| {
        let worker = first + at;
        let stuck = pulse.since_step().filter(|since| *since >= STUCK);
        let stuck = stuck.map(|since| format!("it has not stepped for {} s", since.as_secs()));
        let gone = pulse.has_lost_its_checkpoint_thread().then(|| "its checkpoint thread is gone".to_owned());
        [Check::new(format!("worker-{worker}"), stuck), Check::new(format!("checkpoint-thread-{worker}"), gone)]
    });
    answer("livez", &checks.collect::<Vec<_>>(), verbose)
}

/// Answers `/readyz`: 200 from the first epoch on, when all processes are connected and the state is restored; 503
/// before that, and as soon as the job stops or has failed.
pub(super) fn ready(run: &Run, verbose: bool) -> Probe {
    let phase = Phase::of(run);
    let began = run.process.progress.began.get().is_some();
    let not_begun = |what: &str| (!began).then(|| what.to_owned());
    let going = match phase {
        Phase::Stopping => Some("the job stops".to_owned()),
        Phase::Failed => Some("the job has failed".to_owned()),
        Phase::Starting | Phase::Restoring | Phase::Running => None,
    };
    let checks = [
        Check::new("mesh", not_begun("the processes and workers of the job are not all there yet")),
        Check::new("restore", not_begun("the job has not begun its first epoch")),
        Check::new("running", going),
    ];
    answer("readyz", &checks, verbose)
}

/// Says it as Kubernetes' own probes do: one line per check where it was asked for, or where something is wrong.
fn answer(probe: &str, checks: &[Check], verbose: bool) -> Probe {
    let healthy = checks.iter().all(|check| check.fault.is_none());
    if healthy && !verbose {
        return Probe { status: 200, body: "ok\n".to_owned() };
    }
    let mut body = String::new();
    for Check { name, fault } in checks {
        body += &match fault {
            None => format!("[+]{name} ok\n"),
            Some(fault) => format!("[-]{name} failed: {fault}\n"),
        };
    }
    body += &format!("{probe} check {}\n", if healthy { "passed" } else { "failed" });
    Probe { status: if healthy { 200 } else { 503 }, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_lists_its_checks_when_asked_or_when_one_fails() {
        let well = || Check::new("mesh", None);
        assert_eq!(answer("readyz", &[well()], false), Probe { status: 200, body: "ok\n".to_owned() });
        let body = "[+]mesh ok\nreadyz check passed\n".to_owned();
        assert_eq!(answer("readyz", &[well()], true), Probe { status: 200, body });
        let checks = [well(), Check::new("running", Some("the job stops".to_owned()))];
        let body = "[+]mesh ok\n[-]running failed: the job stops\nreadyz check failed\n".to_owned();
        assert_eq!(answer("readyz", &checks, false), Probe { status: 503, body });
    }
}
