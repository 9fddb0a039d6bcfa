//! Why the command did not do what was asked, and its exit code.

use std::fmt;
use std::process::ExitCode;

use tidemill_state::{ErrorKind, StateError};

/// A failure. What was found until then is printed all the same.
#[derive(Debug)]
pub struct Failure {
    pub kind: ErrorKind,
    /// What happened, and what to type next.
    pub text: String,
    /// What goes to stdout.
    pub output: String,
}

impl Failure {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), output: String::new() }
    }

    /// Returns the exit code of the kind, as `docs/operate/errors.md` has it for jobs.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            ErrorKind::Invalid => 2,
            ErrorKind::Unavailable => 3,
            ErrorKind::Data => 4,
            ErrorKind::Fenced => 5,
            _ => 1,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// The failure for an error of the checkpoint store, with its causes, and with what to type next.
    pub fn of(error: &StateError, next: &str) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(below) = cause {
            text = format!("{text}\n  {below}");
            cause = below.source();
        }
        Self::new(error.kind(), text + next)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::of(&error, next_command(error.kind()))
    }
}

/// Returns what to type next after an error of the checkpoint store.
fn next_command(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "\nsee what can be done with: tidemill help",
        ErrorKind::Unavailable => {
            "\na running job may have removed it: do it again, or see what is there with: tidemill checkpoints list --store DIR"
        }
        ErrorKind::Data => "\nsee what is whole with: tidemill checkpoints verify --store DIR",
        _ => "",
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorKind::Internal, format!("cannot be written as JSON: {error}: this is a bug, please report it"))
    }
}
