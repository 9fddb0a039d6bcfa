//! Where a password is. It is read whenever a connection is made, so that it may change, and is never part of a setting.

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
    pub(crate) fn read(&self) -> Result<Option<String>, ConnectorError> {
        match self {
            Self::None => Ok(None),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    let message = format!("could not read the file with the password, \"{}\"", path.display());
                    ConnectorError::caused(ErrorKind::Invalid, message, e)
                })?;
                Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
            }
            Self::Variable(name) => std::env::var(name).map(Some).map_err(|e| {
                let message = format!("could not read the environment variable with the password, {name}");
                ConnectorError::caused(ErrorKind::Invalid, message, e)
            }),
        }
    }
}
