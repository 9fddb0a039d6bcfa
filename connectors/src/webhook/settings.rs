//! What a user sets of a webhook sink.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::header::Header;
use crate::password::Password;

/// The form of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One record, as JSON.
    One,
    /// An array of so many records at most.
    Array(NonZeroUsize),
    /// A line for each of so many records at most.
    Lines(NonZeroUsize),
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::One | Self::Array(_) => "application/json",
            Self::Lines(_) => "application/x-ndjson",
        }
    }

    pub(super) fn max_records(self) -> usize {
        match self {
            Self::One => 1,
            Self::Array(records) | Self::Lines(records) => records.get(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The URL, or the reason why it is none.
    pub(super) address: Result<Address, String>,
    pub(super) headers: Vec<Header>,
    /// The secret of the signature, if requests are signed.
    pub(super) signing: Password,
    pub(super) certificate_authority: Option<PathBuf>,
    /// The files of a client's certificate and of its key.
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(super) format: Format,
    pub(super) max_bytes: NonZeroUsize,
    pub(super) deadline: Duration,
    pub(super) patience: Duration,
    /// The folder of the dead letters.
    pub(super) dead_letters: Option<PathBuf>,
    pub(super) max_refused: NonZeroUsize,
}

const MAX_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).expect("it is not zero");
const MAX_REFUSED: NonZeroUsize = NonZeroUsize::new(10).expect("it is not zero");

impl Settings {
    pub(super) fn new(url: &str) -> Self {
        Self {
            address: Address::parse(url),
            headers: Vec::new(),
            signing: Password::None,
            certificate_authority: None,
            client_certificate: None,
            format: Format::One,
            max_bytes: MAX_BYTES,
            deadline: Duration::from_secs(30),
            patience: Duration::from_mins(5),
            dead_letters: None,
            max_refused: MAX_REFUSED,
        }
    }

    /// Returns a message for each setting that cannot work, as far as that can be known without reading a file.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            self.address.iter().flat_map(|_| self.headers.iter()).filter_map(Header::fault).collect();
        match &self.address {
            Err(reason) => faults.push(format!("the URL cannot be used: {reason}")),
            Ok(address) if address.is_encrypted() => {}
            Ok(_) => {
                let of_tls = [
                    ("certificate_authority", self.certificate_authority.is_some()),
                    ("client_certificate", self.client_certificate.is_some()),
                ];
                let useless = of_tls.iter().filter(|(_, set)| *set);
                faults.extend(useless.map(|(name, _)| format!("{name} is for https:// only")));
            }
        }
        if self.deadline < Duration::from_millis(1) {
            faults.push("deadline is less than 1 ms".to_owned());
        }
        faults
    }

    /// Returns whether something is read from a file or a variable, which may have changed when a request is not authorized.
    pub(super) fn has_secrets(&self) -> bool {
        use super::header::Value;
        self.signing != Password::None || self.headers.iter().any(|header| matches!(header.value, Value::Secret(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Value;
    use super::*;

    #[test]
    fn all_faults_are_named_at_once() {
        assert_eq!(Settings::new("http://h/").faults(), Vec::<String>::new());
        let mut settings = Settings::new("http://h/");
        settings.deadline = Duration::ZERO;
        settings.certificate_authority = Some("ca.pem".into());
        settings.headers.push(Header { name: "Host".to_owned(), value: Value::Given("other".to_owned()) });
        assert_eq!(
            settings.faults(),
            [
                "the header \"Host\" is set by the sink, or by HTTP itself",
                "certificate_authority is for https:// only",
                "deadline is less than 1 ms"
            ]
        );
        assert!(Settings::new("h").faults()[0].starts_with("the URL cannot be used: it does not begin"));
    }
}
