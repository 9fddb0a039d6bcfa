//! Signature Version 4, as "Create a signed AWS API request" in the IAM user guide describes it.
//!
//! ```text
//! canonical request: method, path, query, headers, hash of the body ─ SHA-256 ─▶ text to sign
//! secret ─ HMAC: day, region, service ─▶ key of the day ─ HMAC of the text ─▶ signature
//! ```

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::credentials::Keys;
use super::time::compact;

/// What is signed of a request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// The path, encoded as it is sent.
    pub(super) path: &'a str,
    /// The query, encoded as it is sent, in the order of its names.
    pub(super) query: &'a str,
    /// Headers with names in lower case, in the order of their names. `host` and `x-amz-date` are among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// For what, and when, a signature is valid.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Seconds since the Unix epoch.
    pub(super) at: i64,
}

impl Request<'_> {
    /// Returns the value of the header `Authorization`.
    pub(super) fn authorization(&self, keys: &Keys, scope: &Scope<'_>) -> String {
        let time = compact(scope.at);
        let day = time.get(..8).unwrap_or_default();
        let credential_scope = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
        let names = self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let request = hex(&Sha256::digest(self.canonical(&names)));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{credential_scope}\n{request}");
        let mut key = hmac(format!("AWS4{}", keys.secret_key).as_bytes(), day);
        for part in [scope.region, scope.service, "aws4_request"] {
            key = hmac(&key, part);
        }
        let signature = hex(&hmac(&key, &text));
        let id = &keys.access_key;
        format!("AWS4-HMAC-SHA256 Credential={id}/{credential_scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn canonical(&self, names: &str) -> String {
        let Self { method, path, query, headers, body } = self;
        let mut text = format!("{method}\n{path}\n{query}\n");
        for (name, value) in *headers {
            let words = value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>();
            text += &format!("{name}:{}\n", words.join(" "));
        }
        text += &format!("\n{names}\n{}", hex(&Sha256::digest(body)));
        text
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is one, so there is always a code.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time, and the keys, of all examples that AWS has published.
    const AT: i64 = 1_440_938_160;

    fn signature(request: &Request<'_>, service: &str) -> String {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
            expires: None,
        };
        request.authorization(&keys, &Scope { region: "us-east-1", service, at: AT })
    }

    const PLAIN: [(&str, &str); 2] = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];

    /// `get-vanilla` and `post-vanilla` of AWS's test suite.
    #[test]
    fn the_test_suite_is_signed_as_published() {
        let mut request = Request { method: "GET", path: "/", query: "", headers: &PLAIN, body: b"" };
        let wanted = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                      SignedHeaders=host;x-amz-date, \
                      Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(signature(&request, "service"), wanted);
        request.method = "POST";
        let wanted = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        assert!(signature(&request, "service").ends_with(wanted));
    }

    /// The example of the documentation: `ListUsers` of IAM.
    #[test]
    fn the_example_of_the_documentation_is_signed_as_published() {
        let content_type = ("content-type", "application/x-www-form-urlencoded;   charset=utf-8 ");
        let headers = [content_type, ("host", "iam.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let query = "Action=ListUsers&Version=2010-05-08";
        let request = Request { method: "GET", path: "/", query, headers: &headers, body: b"" };
        let wanted = "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert!(signature(&request, "iam").ends_with(wanted));
    }
}
