//! Errors of models.

use std::io;
use std::path::PathBuf;

use tidemill_engine::{ConnectorError, ErrorKind, JobError};

/// The reason why a model cannot be used.
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
        /// The file of weights.
        file: PathBuf,
        /// The system's reason, or the reason why the file was not opened.
        #[source]
        source: io::Error,
    },
    /// ONNX Runtime itself cannot be loaded.
    #[error(
        "cannot load ONNX Runtime; tried {tried}. Take the library of version 1.24 or later out of Python's package \
         (`pip install onnxruntime`; it is in onnxruntime/capi), and either set ORT_DYLIB_PATH to its path, or put it \
         beside the program under the name {}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )]
    NoRuntime {
        /// Each path that was tried, with the loader's reason.
        tried: String,
    },
    /// The loaded ONNX Runtime does not have the execution provider that was asked for.
    #[error(
        "the model \"{}\" is to run on {wanted}, but {reason}; \
         this ONNX Runtime has: {available}. Set ORT_DYLIB_PATH to one built with it, or take it out of the providers", .path.display()
    )]
    NoProvider {
        /// The model's file.
        path: PathBuf,
        /// The execution provider that was asked for.
        wanted: String,
        /// The reason why it cannot be used.
        reason: String,
        /// The execution providers that ONNX Runtime has.
        available: String,
    },
    /// ONNX Runtime returned an error.
    #[cfg(feature = "onnx")]
    #[error("ONNX Runtime could not {what} the model \"{}\"", .path.display())]
    Runtime {
        /// The operation that failed.
        what: &'static str,
        /// The model's file.
        path: PathBuf,
        /// The error of ONNX Runtime.
        #[source]
        source: ort::Error,
    },
    /// The model does not fit the features.
    #[error("model \"{model}\" does not fit the features\n  the model:   {found}\n  the program: {program}")]
    Schema {
        /// The model's file or address.
        model: String,
        /// The inputs of the model.
        found: String,
        /// The inputs that the program provides.
        program: String,
    },
    /// The model has no such output.
    #[error("model \"{model}\" has no output {wanted}: it has {found}")]
    Output {
        /// The model's file or address.
        model: String,
        /// The output asked for.
        wanted: String,
        /// The outputs that the model has.
        found: String,
    },
    /// The model is unavailable now: its server does not answer, or a thread for it cannot be started.
    #[error("model \"{model}\" is not available")]
    Unavailable {
        /// The model's file or address.
        model: String,
        /// The reason why it is unavailable.
        #[source]
        source: ConnectorError,
    },
    /// The model was loaded or reached, but cannot be used as requested.
    #[error("model \"{model}\": {reason}")]
    Unusable {
        /// The model's file or address.
        model: String,
        /// A message that says what does not fit, and what to do.
        reason: String,
    },
}

/// A model that cannot be used stops the set-up of the job. The kind of the model's error is kept.
impl From<ModelError> for JobError {
    fn from(error: ModelError) -> Self {
        Self::setup_as(error.kind(), error)
    }
}

impl ModelError {
    /// Returns the error of a model that is unavailable now, with this reason.
    #[cfg(any(test, feature = "model-servers"))]
    pub(super) fn unavailable(model: &str, reason: impl Into<String>) -> Self {
        Self::Unavailable { model: model.to_owned(), source: ConnectorError::new(ErrorKind::Unavailable, reason) }
    }

    /// Returns the kind of the error, which says what the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } | Self::Weights { source, .. } => match source.kind() {
                // A wrong name or missing permissions do not go away by themselves.
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
        // The kind is kept, however it becomes the job's error.
        assert_eq!(JobError::from(away()).kind(), ErrorKind::Unavailable);
        assert_eq!(JobError::setup(away()).kind(), ErrorKind::Unavailable);
        assert_eq!(JobError::from(read(io::ErrorKind::TimedOut)).kind(), ErrorKind::Unavailable);
    }
}
