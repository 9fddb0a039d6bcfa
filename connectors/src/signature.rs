//! Signatures as of Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 of `id.timestamp.body`, in base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The lengths of a secret that the specification allows, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret that requests are signed with.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Parses `whsec_…` or what is behind it: base64 of 24 to 64 bytes. The reason why it is no secret has nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        let bytes = STANDARD.decode(encoded).map_err(|_| "it is not whsec_ and base64".to_owned())?;
        if !LENGTHS.contains(&bytes.len()) {
            return Err(format!(
                "it has {} bytes, and should have {} to {}",
                bytes.len(),
                LENGTHS.start(),
                LENGTHS.end()
            ));
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|e| e.to_string())
    }

    /// Returns the value of `webhook-signature`. `timestamp` is in seconds since the Unix epoch.
    #[cfg(feature = "webhook")]
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.of(id, timestamp, body).finalize().into_bytes()))
    }

    /// Returns whether one of the signatures in `header`, which spaces separate, is of this request: there are several while a
    /// sender changes its secret. The time that it takes does not depend on how much of them is right.
    #[cfg(feature = "ingest")]
    pub(crate) fn verifies(&self, header: &str, id: &str, timestamp: u64, body: &[u8]) -> bool {
        let signatures = header.split_ascii_whitespace().filter_map(|signature| signature.strip_prefix("v1,"));
        let mac = self.of(id, timestamp, body);
        signatures
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .any(|signature| mac.clone().verify_slice(&signature).is_ok())
    }

    fn of(&self, id: &str, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[cfg(all(feature = "ingest", feature = "webhook"))]
    #[test]
    fn a_known_signature_is_made_and_verified() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let (id, time, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let signature = key.sign(id, time, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(key.verifies(&signature, id, time, body));
        assert!(key.verifies(&format!("v1,AAAA v1a,AAAA {signature}"), id, time, body));
        for (header, id, time, body) in [
            ("", id, time, &body[..]),
            (&signature[3..], id, time, body),
            (&signature, "msg_p5jXN8AQM9LWM0D4loKWxJel", time, body),
            (&signature, id, time + 1, body),
            (&signature, id, time, b"{}"),
        ] {
            assert!(!key.verifies(header, id, time, body), "{header} {id} {time}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        for (text, reason) in
            [("", "0 bytes"), ("whsec_aHVudGVyMg==", "7 bytes"), ("hunter2 hunter2", "not whsec_ and base64")]
        {
            let error = SigningKey::parse(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("hunter2") && !error.contains("aHVud"), "{error}");
        }
        assert_eq!(format!("{:?}", SigningKey::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()), "SigningKey");
    }
}
