//! A header of each request. Its value is given, or read from a file or an environment variable whenever a client is made.

use std::fmt;

use tidemill_engine::{ConnectorError, ErrorKind};
use ureq::http::{HeaderName, HeaderValue};

use crate::password::Password;

/// Headers that the sink or HTTP itself sets. One that a user sets would change what a receiver takes for the key or the
/// signature, or where a request ends.
const OWN: [&str; 10] = [
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "host",
];

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Given(String),
    Secret(Password),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: Value,
}

impl Header {
    /// Returns what is wrong with it, as far as it can be known without reading the value.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { name, value } = self;
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Some(format!("\"{name}\" is not the name of a header"));
        }
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Some(format!("the header \"{name}\" is set by the sink, or by HTTP itself"));
        }
        match value {
            Value::Given(value) => self.check(value).err(),
            Value::Secret(_) => None,
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        match HeaderValue::from_str(value) {
            Ok(_) if value.is_empty() => Err(format!("the value of the header \"{}\" is empty", self.name)),
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the value of the header \"{}\" has a character that no header has", self.name)),
        }
    }

    /// Returns its value. An error has nothing of it.
    pub(super) fn read(&self) -> Result<String, ConnectorError> {
        let value = match &self.value {
            Value::Given(value) => value.clone(),
            Value::Secret(place) => {
                place.read_as(&format!("value of the header \"{}\"", self.name))?.unwrap_or_default().trim().to_owned()
            }
        };
        self.check(&value).map_err(|reason| ConnectorError::new(ErrorKind::Invalid, reason))?;
        Ok(value)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            // It may be a secret, too.
            Value::Given(_) => write!(f, "{}: …", self.name),
            Value::Secret(place) => write!(f, "{}: {place:?}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: Value::Given(value.to_owned()) }
    }

    #[test]
    fn headers_that_cannot_be_are_named_without_their_value() {
        assert_eq!(given("X-Tenant", "seven").fault(), None);
        for (name, value, reason) in [
            ("", "hunter2", "not the name of a header"),
            ("a b", "hunter2", "not the name of a header"),
            ("Idempotency-KEY", "hunter2", "is set by the sink"),
            ("content-length", "1", "is set by the sink"),
            ("X-Tenant", "", "is empty"),
            ("X-Tenant", "hunter2\r\nHost: other", "a character that no header has"),
        ] {
            let fault = given(name, value).fault().unwrap();
            assert!(fault.contains(reason) && !fault.contains("hunter2"), "{fault}");
        }
        assert_eq!(format!("{:?}", given("Authorization", "hunter2")), "Authorization: …");
    }

    #[test]
    fn a_value_is_read_from_its_file_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let header = Header { name: "Authorization".to_owned(), value: Value::Secret(Password::File(file.clone())) };
        let missing = header.read().unwrap_err().to_string();
        assert!(
            missing.contains("could not read the file with the value of the header \"Authorization\""),
            "{missing}"
        );
        for (text, value) in [("Bearer one\n", "Bearer one"), ("Bearer two \r\nx", "Bearer two")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(header.read().unwrap(), value);
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(header.read().unwrap_err().to_string().contains("is empty"));
    }
}
