//! The errors of reading a file, with the kind that says what the user can do.

use std::io;
use std::path::Path;

use tidemill_engine::{ConnectorError, ErrorKind};

/// Returns the error of a file that the system cannot read now; a later try may succeed.
pub(crate) fn cannot_read(path: &Path, cause: io::Error) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Unavailable, format!("cannot read \"{}\"", path.display()), cause)
}

/// Returns the error of a program that names the wrong file or asks for something impossible.
pub(crate) fn invalid(path: &Path, what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, format!("\"{}\": {what}", path.display()))
}

/// Returns the error of a file whose content is not what it should be.
pub(crate) fn unreadable(
    path: &Path,
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Data, format!("\"{}\": {what}", path.display()), cause)
}
