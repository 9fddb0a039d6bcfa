//! Why a model cannot be used.

use std::io;
use std::path::PathBuf;

use tidemill_engine::{ConnectorError, ErrorKind, JobError};

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model \"{}\"", .path.display())]
    Read {
        /// The model's file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file in which the model keeps weights cannot be read.
    #[error("the model \"{}\" keeps weights in \"{}\", which cannot be read", .path.display(), .file.display())]
    Weights {
        /// The model's file.
        path: PathBuf,
        /// The file beside it.
        file: PathBuf,
        /// The system's reason, or why it is not asked.
        #[source]
        source: io::Error,
    },
    /// ONNX Runtime itself cannot be loaded.
    #[error(
        "cannot load ONNX Runtime from \"{path}\": {reason}; set ORT_DYLIB_PATH to libonnxruntime.so 1.24 or later (`cargo xtask setup` fetches one)"
    )]
    NoRuntime {
        /// Where it was looked for.
        path: String,
        /// The loader's reason.
        reason: String,
    },
    /// The ONNX Runtime that is loaded cannot run models where it was told to.
    #[error(
        "the model \"{}\" shall run on {wanted}, but {reason}; \
         this ONNX Runtime has: {available}. Set ORT_DYLIB_PATH to one built with it, or take it out of the providers", .path.display()
    )]
    NoProvider {
        /// The model's file.
        path: PathBuf,
        /// The execution provider that was asked for.
        wanted: String,
        /// Why not.
        reason: String,
        /// What there is.
        available: String,
    },
    /// ONNX Runtime refused.
    #[cfg(feature = "onnx")]
    #[error("ONNX Runtime could not {what} the model \"{}\"", .path.display())]
    Runtime {
        /// What was tried.
        what: &'static str,
        /// The model's file.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: ort::Error,
    },
    /// The model does not fit the features.
    #[error("model \"{model}\" does not fit the features\n  the model:   {found}\n  the program: {program}")]
    Schema {
        /// The model's file or address.
        model: String,
        /// What the model takes.
        found: String,
        /// What the program gives.
        program: String,
    },
    /// The model has no such output.
    #[error("model \"{model}\" has no output {wanted}: it has {found}")]
    Output {
        /// The model's file or address.
        model: String,
        /// The output asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// The model cannot be had now: its server does not answer, a thread for it cannot be started.
    #[error("model \"{model}\" cannot be had")]
    Unavailable {
        /// The model's file or address.
        model: String,
        /// Why not.
        #[source]
        source: ConnectorError,
    },
    /// The model was reached, and cannot do what is asked of it.
    #[error("model \"{model}\": {reason}")]
    Unusable {
        /// The model's file or address.
        model: String,
        /// What does not fit, and what to do.
        reason: String,
    },
}

/// A model that cannot be used stops the set-up of the job; what to do about it is what the model's error says.
impl From<ModelError> for JobError {
    fn from(error: ModelError) -> Self {
        Self::setup_as(error.kind(), error)
    }
}

impl ModelError {
    /// The model cannot be had now, for this reason.
    #[cfg(any(test, feature = "model-servers"))]
    pub(super) fn unavailable(model: &str, reason: impl Into<String>) -> Self {
        Self::Unavailable { model: model.to_owned(), source: ConnectorError::new(ErrorKind::Unavailable, reason) }
    }

    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } | Self::Weights { source, .. } => match source.kind() {
                // A wrong name, or rights that are missing, do not pass by themselves.
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidInput => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Unavailable { source, .. } => source.kind(),
            #[cfg(feature = "onnx")]
            Self::Runtime { .. } => ErrorKind::Invalid,
            Self::NoRuntime { .. }
            | Self::NoProvider { .. }
            | Self::Schema { .. }
            | Self::Output { .. }
            | Self::Unusable { .. } => ErrorKind::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_for_the_user_to_mend_and_a_server_that_is_away_is_waited_for() {
        let read = |kind: io::ErrorKind| ModelError::Read { path: PathBuf::from("m.onnx"), source: kind.into() };
        assert_eq!(read(io::ErrorKind::NotFound).kind(), ErrorKind::Invalid);
        assert_eq!(read(io::ErrorKind::TimedOut).kind(), ErrorKind::Unavailable);
        let away = || ModelError::unavailable("m", "no answer");
        assert_eq!(away().kind(), ErrorKind::Unavailable);
        // In whatever way it becomes the job's error.
        assert_eq!(JobError::from(away()).kind(), ErrorKind::Unavailable);
        assert_eq!(JobError::setup(away()).kind(), ErrorKind::Unavailable);
        assert_eq!(JobError::from(read(io::ErrorKind::TimedOut)).kind(), ErrorKind::Unavailable);
    }
}
