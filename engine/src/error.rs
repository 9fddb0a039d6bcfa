//! What can go wrong in a job, sorted by what its user does about it.

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
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedies: Vec::new(), source: None }
    }

    /// An error with the cause below it. The message does not repeat the cause.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), remedies: Vec::new(), source: Some(cause.into()) }
    }

    /// Adds what can be done about it in the settings of the job. The message does not repeat it.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What can be done about it in the settings of the job.
    #[must_use]
    pub fn remedies(&self) -> &[Remedy] {
        &self.remedies
    }
}

/// Why a job stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The program or its settings cannot run as they are.
    #[error("{0}")]
    Invalid(String),
    /// What is set cannot work, by itself, with other settings, or for what the checkpoint holds.
    #[error("{reason}")]
    Setting {
        /// All that cannot work, one a line.
        reason: String,
        /// What can be set instead.
        remedies: Vec<Remedy>,
    },
    /// The program could not set the job up: a model, a table, a service it needs.
    #[error("the program could not set up its job")]
    Setup {
        /// What the user does about it.
        kind: ErrorKind,
        /// What happened.
        #[source]
        source: BoxedError,
    },
    /// State or a checkpoint could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A value that a source, an operator or a sink keeps in the checkpoint besides its state cannot be read.
    #[error(
        "the checkpoint of epoch {epoch} cannot be restored: {what}, as worker {worker} left it, {reason}; an earlier checkpoint may be whole"
    )]
    Unreadable {
        /// What the value is, and of which source, operator or sink.
        what: String,
        /// Index of the worker that wrote it.
        worker: usize,
        /// The epoch that it was written in.
        epoch: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A source or a sink could not go on.
    #[error("\"{operator}\" stopped the job")]
    Connector {
        /// The source's or sink's name in the job.
        operator: String,
        /// What happened.
        #[source]
        source: ConnectorError,
    },
    /// An operator could not be built or could not go on.
    #[error("operator \"{operator}\" stopped the job")]
    Operator {
        /// The operator's name in the job.
        operator: String,
        /// What the user does about it.
        kind: ErrorKind,
        /// What happened.
        #[source]
        source: BoxedError,
    },
    /// A worker panicked: a bug in the program's own code or in the engine.
    #[error("worker {worker} panicked: {message}")]
    Panicked {
        /// Index of the worker.
        worker: usize,
        /// What the panic said.
        message: String,
    },
    /// The processes of the job could not connect, or one was lost.
    #[error("{0}")]
    Cluster(String),
    /// A simulation had the job crash here.
    #[doc(hidden)]
    #[error("the simulation crashed the job")]
    Crashed,
    /// The operating system refused something.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl JobError {
    /// An error while the program sets its job up. Where it is one of Tidemill's, or has one among its causes, it is of that
    /// one's kind; otherwise it is `Invalid`.
    pub fn setup(error: impl Into<BoxedError>) -> Self {
        let source = error.into();
        Self::Setup { kind: kind_of(&*source).unwrap_or(ErrorKind::Invalid), source }
    }

    /// An error of this kind while the program sets its job up.
    pub fn setup_as(kind: ErrorKind, error: impl Into<BoxedError>) -> Self {
        Self::Setup { kind, source: error.into() }
    }

    /// An error of this kind by which an operator stops the job, or refuses to be built.
    pub fn operator(name: &str, kind: ErrorKind, error: impl Into<BoxedError>) -> Self {
        Self::Operator { operator: name.to_owned(), kind, source: error.into() }
    }

    /// An error of the source or sink `operator`.
    pub(crate) fn of_connector(operator: &str, source: ConnectorError) -> Self {
        Self::Connector { operator: operator.to_owned(), source }
    }

    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Setting { .. } => ErrorKind::Invalid,
            Self::Setup { kind, .. } | Self::Operator { kind, .. } => *kind,
            Self::State(e) => e.kind(),
            Self::Connector { source, .. } => source.kind(),
            Self::Unreadable { .. } => ErrorKind::Data,
            Self::Panicked { .. } | Self::Crashed => ErrorKind::Internal,
            Self::Cluster(_) | Self::Io { .. } => ErrorKind::Unavailable,
        }
    }

    /// What can be done about it in the settings of the job: the first is the most likely. Most errors have none.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Setting { remedies, .. } => remedies.clone(),
            Self::State(e) => e.remedies(),
            Self::Unreadable { .. } => vec![Remedy::RestoreEarlier],
            Self::Connector { source, .. } => source.remedies().to_vec(),
            Self::Setup { source, .. } | Self::Operator { source, .. } => remedies_of(&**source),
            _ => Vec::new(),
        }
    }

    /// What is set cannot work, and these can be set instead.
    pub(crate) fn setting(reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Setting { reason: reason.into(), remedies: remedies.into() }
    }

    /// The error and all its causes, one a line: what a command line prints.
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

/// The kind of the first error among this one and its causes that has one.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let of_job = || error.downcast_ref::<JobError>().map(JobError::kind);
    let of_connector = || error.downcast_ref::<ConnectorError>().map(ConnectorError::kind);
    let of_state = || error.downcast_ref::<StateError>().map(StateError::kind);
    of_job().or_else(of_connector).or_else(of_state).or_else(|| error.source().and_then(kind_of))
}

/// The remedies of the first error among this one and its causes that knows what they are.
fn remedies_of(error: &(dyn std::error::Error + 'static)) -> Vec<Remedy> {
    let of_job = || error.downcast_ref::<JobError>().map(JobError::remedies);
    let of_connector = || error.downcast_ref::<ConnectorError>().map(|error| error.remedies.clone());
    let of_state = || error.downcast_ref::<StateError>().map(StateError::remedies);
    let own = of_job().or_else(of_connector).or_else(of_state);
    own.or_else(|| error.source().map(remedies_of)).unwrap_or_default()
}

/// What a panic said.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// An error and all its causes, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of a program's own.
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
