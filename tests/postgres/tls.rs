//! Encrypted connections, with certificates that are made for the test.

use std::time::Duration;

use tidemill::postgres::Database;
use tidemill::prelude::*;

use crate::faults::settings;
use crate::refused::{COUNT, contains, run};
use crate::server::{alone, database, execute, numbers, server};
use tests::certificates::certificate;

#[test]
fn an_encrypted_connection_needs_the_authority_that_has_signed_and_a_password_goes_over_it() {
    let _alone = alone();
    let Some(mut server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let Some((key, own)) = certificate(scratch.path(), "server") else { return };
    let Some((_, other)) = certificate(scratch.path(), "other") else { return };
    execute(
        &server,
        "create table numbers (id bigint not null, name text not null);
         create role writer login password 'tide'; grant all on schema public to writer; grant all on numbers to writer",
    );
    let [right, wrong] = ["tide", "mill"].map(|password| {
        let path = scratch.path().join(password);
        std::fs::write(&path, password).unwrap();
        path
    });
    let refused = |database: Database| {
        let checkpoints = scratch.path().join("refused");
        let sink = PostgresSink::append(database, "numbers").patience(Duration::from_secs(2));
        run(sink, settings(&checkpoints)).unwrap_err().report()
    };
    contains(&refused(database(&server).tls(true)), &["server does not support TLS"]);

    server
        .encrypt(&key, &own, "hostssl all writer 127.0.0.1/32 scram-sha-256\nhost all tidemill 127.0.0.1/32 trust\n")
        .unwrap();
    let writer = || database(&server).user("writer").password_file(&right);
    contains(&refused(writer()), &["no pg_hba.conf entry", "no encryption"]);
    contains(&refused(writer().tls(true)), &["certificate verify failed"]);
    contains(&refused(writer().tls(true).certificate_authority(&other)), &["certificate verify failed"]);
    contains(
        &refused(writer().tls(true).certificate_authority("/nowhere")),
        &["could not use the certificate \"/nowhere\""],
    );
    let trusted = || writer().tls(true).certificate_authority(&own);
    let said = refused(trusted().password_file(&wrong));
    contains(&said, &["password authentication failed for user \"writer\""]);
    assert!(!said.contains("mill\"") && !said.contains("tide\""), "{said}");
    assert!(numbers(&server, "select id from numbers").is_empty());
    run(PostgresSink::append(trusted(), "numbers"), settings(&scratch.path().join("accepted"))).unwrap();
    assert!(numbers(&server, "select id from numbers order by id").into_iter().eq(0..COUNT as i64));
}
