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
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Parses `whsec_…` or what is behind it: base64 of 24 to 64 bytes. The reason why it is no secret has nothing of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
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
    #[test]
    fn a_known_signature_is_made() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
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
