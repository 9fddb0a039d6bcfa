//! Encrypted connections, with certificates that are made for the test.

use testkit::mosquitto::Mosquitto;
use testkit::{fail_with, objects};

use crate::job::{World, readings, until};
use tests::certificates::certificate;
use tests::crashes::stop;

#[test]
fn an_encrypted_connection_needs_the_authority_that_has_signed() {
    let scratch = tempfile::tempdir().unwrap();
    let Some((key, own)) = certificate(scratch.path(), "broker") else { return };
    let Some((_, other)) = certificate(scratch.path(), "other") else { return };
    let encrypted = format!("allow_anonymous true\ncertfile {own}\nkeyfile {key}\n");
    let mut world = World::with(|folder| Mosquitto::start_with(folder, &encrypted));
    let options = world.options.clone();
    let refused = [
        ("mqtts", String::new(), 3, "certificate verify failed"),
        ("mqtts", format!("&ca={other}"), 3, "certificate verify failed"),
        ("mqtts", "&ca=/nowhere".to_owned(), 2, "could not read the certificates"),
        ("mqtts", format!("&ca={key}"), 2, "the file has none in PEM"),
        ("mqtt", String::new(), 3, "no broker answered"),
    ];
    // Most of them try for half a minute.
    std::thread::scope(|scope| {
        for (number, (scheme, more, code, reason)) in refused.into_iter().enumerate() {
            (world.scheme, world.options) = (scheme, format!("{options}{more}"));
            let mut job = world.job_to(&format!("refused-{number}"), 1);
            scope.spawn(move || {
                let said = fail_with(code, &mut job);
                assert!(said.contains(reason), "{scheme} {more}: {said}");
            });
        }
    });
    (world.scheme, world.options) = ("mqtts", format!("{options}&ca={own}"));
    let job = world.start(1);
    until("the session reads", || {
        let message = ["--cafile", &own, "-t", "sensors/m", "-m", &readings(1..2)[0]];
        assert!(world.broker.client("mosquitto_pub").args(message).status().unwrap().success());
        !objects(&world.path("readings")).is_empty()
    });
    stop(job);
}
