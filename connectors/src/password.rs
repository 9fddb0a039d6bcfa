//! Where a password or another secret is. It is read whenever a connection is made, so that it may change, and is never part of
//! a setting.

use std::path::PathBuf;

use tidemill_engine::{ConnectorError, ErrorKind};

/// The place of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Password {
    None,
    /// A file, whose first line it is.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl Password {
    /// Reads the password, if there is one.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn read(&self) -> Result<Option<String>, ConnectorError> {
        self.read_as("password")
    }

    /// Reads the secret, if there is one; `what` it is called in an error.
    pub(crate) fn read_as(&self, what: &str) -> Result<Option<String>, ConnectorError> {
        match self {
            Self::None => Ok(None),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    let message = format!("could not read the file with the {what}, \"{}\"", path.display());
                    ConnectorError::caused(ErrorKind::Invalid, message, e)
                })?;
                Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
            }
            Self::Variable(name) => std::env::var(name).map(Some).map_err(|e| {
                let message = format!("could not read the environment variable with the {what}, {name}");
                ConnectorError::caused(ErrorKind::Invalid, message, e)
            }),
        }
    }
}
