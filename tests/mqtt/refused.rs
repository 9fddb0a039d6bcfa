//! What is refused at the start, with both sides named.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use testkit::mosquitto::{Mosquitto, program};
use testkit::{example, fail_with, small_example};

use crate::job::{World, until};
use testkit::objects;
use tests::crashes::{errors, stop};

/// A broker of MQTT 3.1.1 answers in its own way, which is shorter, and closes the connection.
#[test]
fn a_broker_without_mqtt_5_is_refused_with_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap_or(0);
            assert!(read > 8 && request[..read].windows(5).any(|at| at == [b'M', b'Q', b'T', b'T', 5]));
            drop(stream.write_all(&[0x20, 2, 0, 1]));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut job = small_example("mqtt");
    job.arg(format!("mqtt://{address}/t?session=s")).arg(folder.path().join("out"));
    let said = fail_with(2, &mut job);
    assert!(said.contains("speaks MQTT 3.1.1 only") && said.contains("MQTT 5"), "{said}");
}

#[test]
fn a_wrong_password_is_refused_and_not_printed_and_the_right_one_is_read_from_a_file() {
    let mut world = World::new();
    let passwords = world.path("passwords");
    let mut make = Command::new(program("mosquitto_passwd"));
    assert!(make.args(["-b", "-c"]).arg(&passwords).args(["ada", "lovelace"]).status().unwrap().success());
    let access = format!("allow_anonymous false\npassword_file {}\n", passwords.display());
    world.broker = Mosquitto::start_with(&world.path("guarded"), &access).unwrap();
    std::fs::write(world.path("secret"), "babbage\n").unwrap();
    world.options += &format!("&one-session=true&user=ada&password-file={}", world.path("secret").display());
    let said = fail_with(2, &mut world.job(1));
    assert!(said.contains("does not let this user in") && !said.contains("babbage") && !said.contains("ada"), "{said}");
    std::fs::write(world.path("secret"), "lovelace\n").unwrap();
    let job = world.start(1);
    until("the session reads", || {
        let user = ["-u", "ada", "-P", "lovelace", "-t", "sensors/a", "-m", "{\"n\": 1, \"celsius\": 2}"];
        assert!(world.broker.client("mosquitto_pub").args(user).status().unwrap().success());
        !objects(&world.path("readings")).is_empty()
    });
    stop(job);
}

#[test]
fn another_topic_than_in_the_checkpoint_and_an_unknown_option_are_refused() {
    let mut world = World::new();
    let job = world.start(1);
    until("the session reads", || {
        world.publish(0..1);
        !objects(&world.path("readings")).is_empty()
    });
    stop(job);
    world.topic = "other/#";
    let said = fail_with(2, &mut world.job(1));
    assert!(said.contains("sensors/#\"") && said.contains("other/#\""), "{said}");
    world.options = "session=readings&start=latest".to_owned();
    let output = world.job(1).output().unwrap();
    assert!(errors(&output).contains("no option is called \"start\""), "{}", errors(&output));
}

/// vector#21967 in another way: what is committed in memory only would be acknowledged, and lost with the process.
#[test]
fn a_job_without_a_checkpoint_directory_is_refused_before_it_acknowledges_anything() {
    let world = World::new();
    let said = fail_with(2, example("iot_window").args(["--input", &world.url()]));
    assert!(said.contains("acknowledged when their epoch is committed") && said.contains("checkpoint_dir"), "{said}");
}
