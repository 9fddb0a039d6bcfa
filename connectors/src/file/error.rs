//! The errors of reading a file, with the kind that says what the user can do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use tidemill_engine::{ConnectorError, ErrorKind};

/// A bug of this crate, in the place of an I/O error.
#[derive(Debug)]
struct Bug(&'static str);

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: this is a bug in Tidemill, please report it", self.0)
    }
}

impl Error for Bug {}

/// Returns a bug as an I/O error. The errors below that are caused by it are of the kind `Internal`.
pub(crate) fn bug(what: &'static str) -> io::Error {
    io::Error::other(Bug(what))
}

/// Returns the kind of an error with this cause: `Internal` for a bug, and `otherwise` for anything else.
fn kind_by(cause: &(dyn Error + 'static), otherwise: ErrorKind) -> ErrorKind {
    let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    if inner.is_some_and(|inner| inner.is::<Bug>()) { ErrorKind::Internal } else { otherwise }
}

/// Returns the error of a file that the system cannot read now; a later try may succeed.
pub(crate) fn cannot_read(path: &Path, cause: io::Error) -> ConnectorError {
    let kind = kind_by(&cause, ErrorKind::Unavailable);
    ConnectorError::caused(kind, format!("cannot read \"{}\"", path.display()), cause)
}

/// Returns the error of a program that names the wrong file or asks for something impossible.
pub(crate) fn invalid(path: &Path, what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, format!("\"{}\": {what}", path.display()))
}

/// Returns the error of a file whose content is not what it should be.
pub(crate) fn unreadable(path: &Path, what: &str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectorError {
    let cause = cause.into();
    ConnectorError::caused(kind_by(&*cause, ErrorKind::Data), format!("\"{}\": {what}", path.display()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_internal_whatever_it_is_wrapped_in() {
        let (path, late) = (Path::new("a.csv"), || io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(cannot_read(path, late()).kind(), ErrorKind::Unavailable);
        assert_eq!(unreadable(path, "what", late()).kind(), ErrorKind::Data);
        for error in [cannot_read(path, bug("it went wrong")), unreadable(path, "what", bug("it went wrong"))] {
            assert_eq!(error.kind(), ErrorKind::Internal);
            let cause = error.source().map(ToString::to_string);
            assert_eq!(cause.as_deref(), Some("it went wrong: this is a bug in Tidemill, please report it"));
        }
    }
}
