//! A broker, and how to connect to it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_engine::{ConnectorError, ErrorKind};

/// A broker of MQTT 5: its address, TLS, and the user.
///
/// A password is read from where it is each time that a client connects, so that it may change; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// File of certificates (PEM) that are trusted instead of the system's.
    pub(super) ca: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// Where a password is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    File(PathBuf),
    Variable(String),
    Value(Arc<str>),
}

impl Broker {
    /// Returns the broker at this host and port, without TLS.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, tls: false, ca: None, user: None, password: None }
    }

    /// Has the connection encrypted, and the broker's certificate checked against the system's.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Has the connection encrypted, and the broker's certificate checked against those in this file (PEM).
    #[must_use]
    pub fn tls_with_ca(mut self, ca: impl Into<PathBuf>) -> Self {
        (self.tls, self.ca) = (true, Some(ca.into()));
        self
    }

    /// Sets the user, and the password.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl AsRef<str>) -> Self {
        (self.user, self.password) = (Some(user.into()), Some(Secret::Value(password.as_ref().into())));
        self
    }

    /// Sets the user, and the file whose first line is the password.
    #[must_use]
    pub fn user_with_password_file(mut self, user: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        (self.user, self.password) = (Some(user.into()), Some(Secret::File(file.into())));
        self
    }

    /// Sets the user, and the environment variable that has the password.
    #[must_use]
    pub fn user_with_password_variable(mut self, user: impl Into<String>, variable: impl Into<String>) -> Self {
        (self.user, self.password) = (Some(user.into()), Some(Secret::Variable(variable.into())));
        self
    }

    /// Returns user and password as they are now.
    pub(super) fn credentials(&self) -> Result<Option<(String, String)>, ConnectorError> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password {
            None => String::new(),
            Some(Secret::Value(value)) => value.to_string(),
            Some(Secret::Variable(name)) => std::env::var(name).map_err(|e| {
                let message = format!("could not read the password of {self} from the environment variable {name}");
                ConnectorError::caused(ErrorKind::Invalid, message, e)
            })?,
            Some(Secret::File(path)) => {
                let text = fs::read_to_string(path).map_err(|e| {
                    let message = format!("could not read the password of {self} from \"{}\"", path.display());
                    ConnectorError::caused(ErrorKind::Invalid, message, e)
                })?;
                text.lines().next().unwrap_or_default().to_owned()
            }
        };
        Ok(Some((user.clone(), password)))
    }

    /// Returns the certificates to trust, if not the system's.
    pub(super) fn certificates(&self) -> Result<Option<Vec<u8>>, ConnectorError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|e| {
                let message = format!("could not read the certificates for {self} from \"{}\"", path.display());
                ConnectorError::caused(ErrorKind::Invalid, message, e)
            })
        };
        self.ca.as_ref().map(read).transpose()
    }
}

impl fmt::Display for Broker {
    /// Writes neither user nor password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broker({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_user_nor_password_is_printed_and_the_file_is_read_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "first\n").unwrap();
        let broker = Broker::new("broker", 1883).user_with_password_file("ada", file.path());
        assert_eq!(broker.credentials().unwrap(), Some(("ada".to_owned(), "first".to_owned())));
        fs::write(file.path(), "second").unwrap();
        assert_eq!(broker.credentials().unwrap(), Some(("ada".to_owned(), "second".to_owned())));
        let plain = Broker::new("broker", 1883).tls().user("ada", "lovelace");
        for text in [format!("{plain}"), format!("{plain:?}"), format!("{broker:?}")] {
            assert!(!text.contains("ada") && !text.contains("lovelace") && text.contains("broker:1883"), "{text}");
        }
        let missing = Broker::new("broker", 1883).user_with_password_variable("ada", "TIDEMILL_NO_SUCH_VARIABLE");
        let error = missing.credentials().unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("TIDEMILL_NO_SUCH_VARIABLE"));
    }
}
