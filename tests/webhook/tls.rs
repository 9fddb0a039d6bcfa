//! Encrypted connections, with certificates that are made for the test.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslVerifyMode};
use tidemill::prelude::*;

use crate::faults::{Numbered, each_under_one_key, run};
use crate::refused::contains;
use crate::server::{ReadWrite, Reply, Server};
use tests::certificates::certificate;

/// Starts a server with this key and certificate, which asks for a client's certificate if there is an authority for it.
fn server(key: &str, certificate: &str, client_authority: Option<&str>) -> Server {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key_file(key, SslFiletype::PEM).unwrap();
    acceptor.set_certificate_file(certificate, SslFiletype::PEM).unwrap();
    if let Some(authority) = client_authority {
        acceptor.set_ca_file(authority).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    let acceptor = Arc::new(acceptor.build());
    let wrap =
        move |stream: TcpStream| acceptor.accept(stream).ok().map(|stream| Box::new(stream) as Box<dyn ReadWrite>);
    Server::start_with(|_| Reply::Status(200), wrap)
}

fn sink(server: &Server) -> WebhookSink<Numbered> {
    WebhookSink::new(&format!("https://{}/in", server.address)).patience(Duration::from_secs(1))
}

#[test]
fn an_encrypted_connection_needs_the_authority_that_has_signed() {
    let scratch = tempfile::tempdir().unwrap();
    let Some((key, own)) = certificate(scratch.path(), "server") else { return };
    let Some((_, other)) = certificate(scratch.path(), "other") else { return };
    let server = server(&key, &own, None);
    let refused = |sink| run(sink, 20).unwrap_err().report();
    contains(&refused(sink(&server)), &["gave up", "certificate verify failed"]);
    contains(&refused(sink(&server).certificate_authority(&other)), &["certificate verify failed"]);
    contains(&refused(sink(&server).certificate_authority("/nowhere")), &["could not use \"/nowhere\""]);
    contains(&refused(sink(&server).certificate_authority(&key)), &["it has no certificate in PEM"]);
    assert_eq!(server.requests(), []);
    run(sink(&server).certificate_authority(&own), 20).unwrap();
    each_under_one_key(&server, 20);
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_it() {
    let scratch = tempfile::tempdir().unwrap();
    let Some((key, own)) = certificate(scratch.path(), "server") else { return };
    let Some((client_key, client)) = certificate(scratch.path(), "client") else { return };
    let server = server(&key, &own, Some(&client));
    let trusted = || sink(&server).certificate_authority(&own);
    let refused = |sink| run(sink, 20).unwrap_err().report();
    contains(&refused(trusted()), &["gave up"]);
    contains(&refused(trusted().client_certificate(&client, &own)), &["it has no private key in PEM"]);
    // The older form of a key, which nothing else than its head tells from the newer one.
    let old = scratch.path().join("old.pem");
    let converted =
        Command::new("openssl").args(["rsa", "-traditional", "-in", &client_key, "-out"]).arg(&old).output();
    assert!(converted.unwrap().status.success());
    contains(&refused(trusted().client_certificate(&client, &old)), &["old.pem", "PKCS #8", "openssl pkcs8 -topk8"]);
    assert_eq!(server.requests(), []);
    run(trusted().client_certificate(&client, &client_key), 20).unwrap();
    each_under_one_key(&server, 20);
}
