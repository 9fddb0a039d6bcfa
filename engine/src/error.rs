//! What can go wrong in a job, sorted by what its user does about it.

pub use tidemill_state::ErrorKind;
use tidemill_state::StateError;

/// An error of a source or a sink: what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectorError {
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error with the cause below it. The message does not repeat the cause.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(cause.into()) }
    }

    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Why a job stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The program or its settings cannot run as they are.
    #[error("{0}")]
    Invalid(String),
    /// The program could not set the job up: a model, a table, a service it needs.
    #[error(transparent)]
    Setup(Box<dyn std::error::Error + Send + Sync>),
    /// State or a checkpoint could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A value that a source, an operator or a sink keeps in the checkpoint besides its state cannot be read.
    #[error(
        "the checkpoint of epoch {epoch} cannot be restored: {what}, as worker {worker} left it, {reason}; --restore EPOCH names an earlier one"
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
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// An error of the program's own while it sets the job up.
    pub fn setup(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Setup(error.into())
    }

    /// An error of the source or sink `operator`.
    pub(crate) fn of_connector(operator: &str, source: ConnectorError) -> Self {
        Self::Connector { operator: operator.to_owned(), source }
    }

    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Setup(_) | Self::Operator { .. } => ErrorKind::Invalid,
            Self::State(e) => e.kind(),
            Self::Connector { source, .. } => source.kind(),
            Self::Unreadable { .. } => ErrorKind::Data,
            Self::Panicked { .. } | Self::Crashed => ErrorKind::Internal,
            Self::Cluster(_) | Self::Io { .. } => ErrorKind::Unavailable,
        }
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
