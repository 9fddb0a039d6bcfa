//! The errors of a job, sorted by what the user does about them.

use tidemill_state::StateError;
pub use tidemill_state::{ErrorKind, Remedy};

/// An error of a source or a sink: what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    kind: ErrorKind,
    message: String,
    remedies: Vec<Remedy>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectorError {
    /// Makes an error without a deeper cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedies: Vec::new(), source: None }
    }

    /// Makes an error with the error that caused it. The message does not repeat the cause.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), remedies: Vec::new(), source: Some(cause.into()) }
    }

    /// Adds a remedy: something that can be changed in the settings of the job. The message does not repeat it.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    /// Returns the kind of the error, which says what the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what can be changed in the settings of the job to remedy the error.
    #[must_use]
    pub fn remedies(&self) -> &[Remedy] {
        &self.remedies
    }
}

/// The reason why a job stopped or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The program or its settings cannot run as they are.
    #[error("{0}")]
    Invalid(String),
    /// A setting cannot work: by itself, together with other settings, or with the contents of the checkpoint.
    #[error("{reason}")]
    Setting {
        /// Everything that cannot work, one item per line.
        reason: String,
        /// The settings to change.
        remedies: Vec<Remedy>,
    },
    /// The program could not set up its job: a model, a table or a service that it needs is not usable.
    #[error("the program could not set up its job")]
    Setup {
        /// The kind of the error, which says what the user does about it.
        kind: ErrorKind,
        /// The error that happened.
        #[source]
        source: BoxedError,
    },
    /// State or a checkpoint could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A value that a source, an operator or a sink keeps in the checkpoint in addition to its state cannot be read.
    #[error(
        "the checkpoint of epoch {epoch} cannot be restored: {what}, as worker {worker} left it, {reason}; an earlier checkpoint may be whole"
    )]
    Unreadable {
        /// The value, and the source, operator or sink that it belongs to.
        what: String,
        /// Index of the worker that wrote it.
        worker: usize,
        /// The epoch in which it was written.
        epoch: u64,
        /// The reason why it cannot be read.
        reason: String,
    },
    /// A source or a sink could not go on.
    #[error("\"{operator}\" stopped the job")]
    Connector {
        /// The name of the source or sink in the job.
        operator: String,
        /// The error that happened.
        #[source]
        source: ConnectorError,
    },
    /// An operator could not be built or could not go on.
    #[error("operator \"{operator}\" stopped the job")]
    Operator {
        /// The name of the operator in the job.
        operator: String,
        /// The kind of the error, which says what the user does about it.
        kind: ErrorKind,
        /// The error that happened.
        #[source]
        source: BoxedError,
    },
    /// A worker panicked: a bug in the program's own code or in the engine.
    #[error("worker {worker} panicked: {message}")]
    Panicked {
        /// Index of the worker.
        worker: usize,
        /// The message of the panic.
        message: String,
    },
    /// The processes of the job could not connect, or the connection to one of them was lost.
    #[error("{reason}")]
    Cluster {
        /// What happened, and with which process.
        reason: String,
        /// The settings that may be wrong.
        remedies: Vec<Remedy>,
    },
    /// A simulation crashed the job.
    #[doc(hidden)]
    #[error("the simulation crashed the job")]
    Crashed,
    /// The operating system refused an operation.
    #[error("could not {what}")]
    Io {
        /// The operation that was tried.
        what: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

impl JobError {
    /// Makes an error of a program that sets up its job. If `error` is an error of Tidemill's, or has one among
    /// its causes, the result has the kind of that error; otherwise it is `Invalid`.
    pub fn setup(error: impl Into<BoxedError>) -> Self {
        let source = error.into();
        Self::Setup { kind: kind_of(&*source).unwrap_or(ErrorKind::Invalid), source }
    }

    /// Makes an error of this kind of a program that sets up its job.
    pub fn setup_as(kind: ErrorKind, error: impl Into<BoxedError>) -> Self {
        Self::Setup { kind, source: error.into() }
    }

    /// Makes an error of this kind with which an operator stops the job, or cannot be built.
    pub fn operator(name: &str, kind: ErrorKind, error: impl Into<BoxedError>) -> Self {
        Self::Operator { operator: name.to_owned(), kind, source: error.into() }
    }

    /// Makes an error of the source or sink `operator`.
    pub(crate) fn of_connector(operator: &str, source: ConnectorError) -> Self {
        Self::Connector { operator: operator.to_owned(), source }
    }

    /// Returns the kind of the error, which says what the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Setting { .. } => ErrorKind::Invalid,
            Self::Setup { kind, .. } | Self::Operator { kind, .. } => *kind,
            Self::State(e) => e.kind(),
            Self::Connector { source, .. } => source.kind(),
            Self::Unreadable { .. } => ErrorKind::Data,
            Self::Panicked { .. } | Self::Crashed => ErrorKind::Internal,
            Self::Cluster { .. } | Self::Io { .. } => ErrorKind::Unavailable,
        }
    }

    /// Returns what can be changed in the settings of the job to remedy the error; the most likely remedy comes
    /// first. Most errors have none.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Setting { remedies, .. } | Self::Cluster { remedies, .. } => remedies.clone(),
            Self::State(e) => e.remedies(),
            Self::Unreadable { .. } => vec![Remedy::RestoreEarlier],
            Self::Connector { source, .. } => source.remedies().to_vec(),
            Self::Setup { source, .. } | Self::Operator { source, .. } => remedies_of(&**source),
            _ => Vec::new(),
        }
    }

    /// Makes an error about the other processes of the job, for which no setting is at fault.
    pub(crate) fn cluster(reason: impl Into<String>) -> Self {
        Self::cluster_of(reason, [])
    }

    /// Makes an error about the other processes of the job, with the settings that may be wrong.
    pub(crate) fn cluster_of(reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Cluster { reason: reason.into(), remedies: remedies.into() }
    }

    /// Makes an error about settings that cannot work, with the remedies.
    pub(crate) fn setting(reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Setting { reason: reason.into(), remedies: remedies.into() }
    }

    /// Returns the error and all its causes, one per line, as a command line prints them.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str("\n  because: ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// An error of any type.
type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the kind of the first error among this one and its causes that has a kind.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let of_job = || error.downcast_ref::<JobError>().map(JobError::kind);
    let of_connector = || error.downcast_ref::<ConnectorError>().map(ConnectorError::kind);
    let of_state = || error.downcast_ref::<StateError>().map(StateError::kind);
    of_job().or_else(of_connector).or_else(of_state).or_else(|| error.source().and_then(kind_of))
}

/// Returns the remedies of the first error among this one and its causes that can have remedies.
fn remedies_of(error: &(dyn std::error::Error + 'static)) -> Vec<Remedy> {
    let of_job = || error.downcast_ref::<JobError>().map(JobError::remedies);
    let of_connector = || error.downcast_ref::<ConnectorError>().map(|error| error.remedies.clone());
    let of_state = || error.downcast_ref::<StateError>().map(StateError::remedies);
    let own = of_job().or_else(of_connector).or_else(of_state);
    own.or_else(|| error.source().map(remedies_of)).unwrap_or_default()
}

/// Returns the message of a panic.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Returns an error and all its causes, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error type of a program.
    #[derive(Debug, thiserror::Error)]
    #[error("the program's own")]
    struct Own(#[source] BoxedError);

    #[test]
    fn an_error_of_the_setup_is_of_the_kind_of_what_it_wraps() {
        let away = || ConnectorError::new(ErrorKind::Unavailable, "no answer");
        let damaged = || StateError::Corrupt { file: "f".to_owned(), reason: "cut".to_owned() };
        let fenced = || JobError::State(StateError::Fenced { file: "f".to_owned(), by: "b".to_owned() });
        let bug = || JobError::operator("sums", ErrorKind::Internal, "out of step");
        for (error, kind) in [
            (JobError::setup("a typing error"), ErrorKind::Invalid),
            (JobError::setup(away()), ErrorKind::Unavailable),
            (JobError::setup(Own(away().into())), ErrorKind::Unavailable),
            (JobError::setup(Own(Own(damaged().into()).into())), ErrorKind::Data),
            (JobError::setup(fenced()), ErrorKind::Fenced),
            (JobError::setup(bug()), ErrorKind::Internal),
            (JobError::setup_as(ErrorKind::Data, Own(away().into())), ErrorKind::Data),
        ] {
            assert_eq!(error.kind(), kind, "{}", error.report());
        }
    }

    #[test]
    fn remedies_are_found_below_what_wraps_them() {
        let lost = || ConnectorError::new(ErrorKind::Data, "they are gone").remedy(Remedy::StartOver);
        let damaged = StateError::Incomplete { epoch: 9, missing: Vec::new(), others: vec![7, 5] };
        assert_eq!(JobError::of_connector("in", lost()).remedies(), [Remedy::StartOver]);
        assert_eq!(JobError::setup(Own(lost().into())).remedies(), [Remedy::StartOver]);
        let whole = [Remedy::RestoreEpoch(7), Remedy::RestoreEpoch(5)];
        assert_eq!(JobError::operator("sums", ErrorKind::Data, JobError::State(damaged)).remedies(), whole);
        assert_eq!(JobError::setup("a typing error").remedies(), []);
    }

    #[test]
    fn a_report_says_each_cause_once() {
        let error = JobError::setup(Own("no answer".into()));
        let report = "the program could not set up its job\n  because: the program's own\n  because: no answer";
        assert_eq!(error.report(), report);
    }
}
