//! What a user sets of an HTTP source.

use std::net::SocketAddr;
use std::time::Duration;

use tidemill_engine::{ConnectorError, ErrorKind};

use crate::malformed::MaxMalformed;
use crate::password::Password;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where it listens, `host:port`, as the user wrote it.
    pub(super) address: String,
    /// As a request has it: `%` and what follows stay as they are.
    pub(super) path: String,
    pub(super) token: Password,
    /// The secret of signatures.
    pub(super) signing: Password,
    pub(super) open_to_all: bool,
    pub(super) max_request_bytes: usize,
    pub(super) max_request_records: usize,
    pub(super) max_queued_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) answer_within: Duration,
    pub(super) remembered_keys: usize,
    pub(super) remembered_for: Duration,
    /// When malformed records, which are dead letters, stop the job; `None`: their requests are refused.
    pub(super) malformed: Option<MaxMalformed>,
    pub(super) max_out_of_orderness: Duration,
    pub(super) idle_after: Duration,
    pub(super) lead: Duration,
    pub(super) max_ahead: Option<Duration>,
}

impl Settings {
    pub(super) fn new(address: String, path: String) -> Self {
        Self {
            address,
            path,
            token: Password::None,
            signing: Password::None,
            open_to_all: false,
            max_request_bytes: 8 << 20,
            max_request_records: 10_000,
            max_queued_bytes: 64 << 20,
            max_connections: 512,
            answer_within: Duration::from_secs(30),
            remembered_keys: 65_536,
            remembered_for: Duration::from_hours(24),
            malformed: None,
            max_out_of_orderness: Duration::ZERO,
            idle_after: Duration::from_secs(5),
            lead: Duration::ZERO,
            max_ahead: None,
        }
    }

    /// Returns the address to listen on.
    pub(super) fn listens_at(&self) -> Result<SocketAddr, String> {
        let address = &self.address;
        let numbers = match address.rsplit_once(':') {
            Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
            _ => address.clone(),
        };
        numbers.parse().map_err(|_| {
            format!("\"{address}\" is not an address to listen on: write it as 127.0.0.1:9091 or [::1]:9091")
        })
    }

    /// Returns a message for each setting that cannot work, as far as that can be known without reading a file.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match self.listens_at() {
            Err(fault) => faults.push(fault),
            Ok(at) => {
                let is_guarded = self.token != Password::None || self.signing != Password::None;
                if !at.ip().to_canonical().is_loopback() && !is_guarded && !self.open_to_all {
                    faults.push(format!(
                        "others than this machine can reach {at}, and could send anything: set a token, or a secret of signatures, listen at \
                         127.0.0.1, or set that it is open to all"
                    ));
                }
            }
        }
        if !self.path.starts_with('/')
            || self.path.contains(['?', '#'])
            || !self.path.bytes().all(|byte| byte.is_ascii_graphic())
        {
            faults.push(format!("the path \"{}\" is not one: write it as /events", self.path));
        }
        for (name, number) in [
            ("max_request_bytes", self.max_request_bytes),
            ("max_request_records", self.max_request_records),
            ("max_connections", self.max_connections),
        ] {
            if number == 0 {
                faults.push(format!("{name} is 0: nothing could be sent"));
            }
        }
        if self.max_queued_bytes / 2 < self.max_request_bytes {
            faults.push(
                "max_queued_bytes is less than twice max_request_bytes: a packed request needs so much".to_owned(),
            );
        }
        if self.max_request_records > u32::MAX as usize {
            faults.push(format!("max_request_records is more than {}", u32::MAX));
        }
        if self.answer_within < Duration::from_millis(1) {
            faults.push("answer_within is less than 1 ms".to_owned());
        }
        faults
    }

    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(ConnectorError::new(ErrorKind::Invalid, faults.join("; and "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_named_at_once() {
        let settings = |address: &str| Settings::new(address.to_owned(), "/events".to_owned());
        for good in ["127.0.0.1:9091", "[::1]:0", "localhost:9091", "127.8.9.1:1"] {
            settings(good).check().unwrap();
        }
        let mut bad = settings("0.0.0.0:9091");
        assert!(bad.faults()[0].contains("others than this machine can reach 0.0.0.0:9091"));
        bad.open_to_all = true;
        bad.check().unwrap();
        bad.open_to_all = false;
        bad.token = Password::Variable("TOKEN".to_owned());
        bad.check().unwrap();
        (bad.address, bad.path) = ("events.example:80".to_owned(), "events".to_owned());
        (bad.max_request_records, bad.max_connections, bad.answer_within) = (0, 0, Duration::ZERO);
        bad.max_queued_bytes = 9 << 20;
        let faults = bad.check().unwrap_err().to_string();
        for fault in [
            "\"events.example:80\" is not an address",
            "the path \"events\"",
            "max_request_records is 0",
            "max_connections is 0",
            "max_queued_bytes is less than twice",
            "answer_within",
        ] {
            assert!(faults.contains(fault), "{fault}: {faults}");
        }
    }
}
