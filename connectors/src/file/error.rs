//! How reading a file fails, and who can mend it.

use std::io;
use std::path::Path;

use tidemill_engine::{ConnectorError, ErrorKind};

/// The system does not give it: another time it may.
pub(crate) fn cannot_read(path: &Path, cause: io::Error) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Unavailable, format!("cannot read \"{}\"", path.display()), cause)
}

/// The program names the wrong file, or asks of it what cannot be.
pub(crate) fn invalid(path: &Path, what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, format!("\"{}\": {what}", path.display()))
}

/// What is in it is not what it should be.
pub(crate) fn unreadable(
    path: &Path,
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Data, format!("\"{}\": {what}", path.display()), cause)
}
