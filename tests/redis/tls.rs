//! An encrypted connection, with a certificate that was made for the test.

use std::time::Duration;

use testkit::free_address;
use tidemill::redis::RedisServer;

use crate::faults::{checkpoints, ids, settings, stream};
use crate::refused::{contains, run};
use crate::server::server_with;
use tests::certificates::certificate;

#[test]
fn an_encrypted_connection_needs_the_authority_that_has_signed() {
    let scratch = tempfile::tempdir().unwrap();
    let Some((key, certificate)) = certificate(scratch.path(), "localhost") else { return };
    let port = free_address().port();
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let number = port.to_string();
    let options = [&["--tls-port", &number, "--tls-auth-clients", "no"][..], &files].concat();
    let Some(running) = server_with(&options) else { return };
    let encrypted = || RedisServer::new("127.0.0.1").port(port);
    let hurried = |at: RedisServer| stream(at).patience(Duration::from_secs(2));
    let refused = |at: RedisServer| run(hurried(at), settings(&checkpoints(&running))).unwrap_err().report();
    contains(&refused(encrypted().tls()), &["could not connect to 127.0.0.1", "certificate verify failed"]);
    contains(&refused(encrypted().tls_with_ca("/nowhere")), &["could not use the certificate \"/nowhere\""]);
    contains(&refused(encrypted()), &["gave up"]);
    // The other port has no TLS.
    contains(&refused(running.at().tls_with_ca(&certificate)), &["gave up"]);
    run(stream(encrypted().tls_with_ca(&certificate)), settings(&checkpoints(&running))).unwrap();
    assert_eq!(ids(&running.server).len(), 20);
}
