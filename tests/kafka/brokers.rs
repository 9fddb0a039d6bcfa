//! Tests that run their own brokers: brokers that are killed at each phase of an epoch, that forget producers, or
//! that require TLS and a password.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::cluster::{Cluster, alone};
use crate::crash::{PLACES, own_broker};
use crate::job::{self, exactly_once_and_in_order, expected, job, live_job, signal, transactions, wait};
use testkit::broker::Broker;
use testkit::{example, fail, finish, free_addresses, some};
use tests::until;

/// So many that a job does not read them all before the third epoch ends.
const COUNT: usize = 200_000;
/// Number of places that a quick run tests.
const QUICK: usize = 3;

fn cluster_of(broker: &Broker) -> Cluster {
    Cluster { address: broker.address.clone() }
}

/// Returns whether SIGSTOP has stopped the process; `None` if it has ended.
fn stands_still(child: &mut Child) -> Option<bool> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    Some(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

fn free_ports<const N: usize>() -> [u16; N] {
    free_addresses().unwrap().map(|address| address.port())
}

/// The broker is killed while the job is stopped at a place in an epoch, and restarts after the job has continued.
#[test]
fn a_broker_that_dies_at_any_place_leaves_each_prediction_once() {
    let _alone = alone();
    let scratch = tempfile::tempdir().unwrap();
    let Some(mut broker) = own_broker(&scratch.path().join("broker")) else { return };
    let cluster = cluster_of(&broker);
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    for place in some(PLACES, QUICK) {
        let (output, checkpoints) = (cluster.topic("predictions", 3), scratch.path().join(place));
        let mut child = job(&input, &output.url(), &checkpoints, 2).env("TIDEMILL_STOP_AT", place).spawn().unwrap();
        until("it comes to the place", || stands_still(&mut child) != Some(false));
        assert_eq!(stands_still(&mut child), Some(true), "it never came to {place}");
        broker.kill().unwrap();
        signal(&child, "CONT");
        // This is long enough for calls to fail.
        wait(Duration::from_secs(1));
        broker.resume().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{place}: {}", job::errors(&ended));
        exactly_once_and_in_order(&output.committed(), &expected, place);
    }
}

/// The start that recovers from a crash is itself killed, before and after it has published output.
#[test]
fn a_crash_while_it_recovers_leaves_each_prediction_once() {
    let _alone = alone();
    let scratch = tempfile::tempdir().unwrap();
    let Some(broker) = own_broker(&scratch.path().join("broker")) else { return };
    let cluster = cluster_of(&broker);
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    for dies in some(["taken-over:0", "taken-over:0:1", "republished:0"], 1) {
        let (output, checkpoints) = (cluster.topic("predictions", 3), scratch.path().join(dies));
        job::dies_at(&mut job(&input, &output.url(), &checkpoints, 2), "after-manifest:3");
        job::dies_at(&mut job(&input, &output.url(), &checkpoints, 2), dies);
        job::dies_at(&mut job(&input, &output.url(), &checkpoints, 3), "taken-over:0");
        finish(&mut job(&input, &output.url(), &checkpoints, 1));
        exactly_once_and_in_order(&output.committed(), &expected, dies);
    }
}

/// The broker forgets producers that have written nothing for a while.
#[test]
fn a_job_that_was_quiet_for_so_long_that_the_broker_forgot_its_producers_goes_on() {
    let _alone = alone();
    let scratch = tempfile::tempdir().unwrap();
    let forgets = "transactional.id.expiration.ms=2000
transaction.remove.expired.transaction.cleanup.interval.ms=500
producer.id.expiration.ms=2000
producer.id.expiration.check.interval.ms=500
";
    let Some(broker) = broker_with(&scratch.path().join("broker"), free_ports(), forgets, &[]) else { return };
    let cluster = cluster_of(&broker);
    let (input, output) = (cluster.topic("transactions", 2), cluster.topic("predictions", 2));
    let write = |count: usize, seed: &str| {
        let (count, url) = (count.to_string(), input.url());
        finish(example("fraud_velocity").args(["--count", &count, "--seed", seed, "--write-input", &url]));
    };
    // The job takes records in the order of arrival, because the second part of the input covers the same days.
    let mut command = example("fraud_velocity");
    command.args(["--input", &input.url(), "--checkpoint-interval", "50ms", "--workers", "2", "--report"]);
    command.args(["--predictions", &output.url(), "--checkpoint-dir"]).arg(scratch.path().join("checkpoints"));
    let child = command.spawn().unwrap();
    write(500, "1");
    until("predictions come", || output.committed().len() == 500);
    wait(Duration::from_secs(8));
    write(500, "2");
    until("the others come too", || output.committed().len() >= 1000);
    signal(&child, "TERM");
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", job::errors(&ended));
    assert!(
        job::errors(&ended).contains("transaction is begun again"),
        "the broker forgot nothing: {}",
        job::errors(&ended)
    );
    assert_eq!(output.committed().len(), 1000);
}

fn broker_with(folder: &Path, ports: [u16; 2], more: &str, format: &[&str]) -> Option<Broker> {
    Some(Broker::start_with(&crate::crash::kafka_libs()?, folder, ports, more, format).unwrap())
}

/// Creates a key pair for 127.0.0.1 in a PKCS #12 store. Returns the paths of the store and of the certificate, which
/// clients need to trust the broker.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (store, certificate) = (folder.join(format!("{name}.p12")), folder.join(format!("{name}.pem")));
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(arguments).args(["-alias", "broker", "-storepass", PASSWORD, "-keystore"]).arg(&store);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    let key = ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-storetype", "PKCS12", "-validity", "2"];
    keytool(&[&key[..], &["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true"]].concat());
    keytool(&["-exportcert", "-rfc", "-file", &certificate.to_string_lossy()]);
    (store, certificate)
}

const PASSWORD: &str = "correct-horse";

#[test]
fn tls_and_a_password_are_passed_through_and_what_is_wrong_with_them_is_said() {
    let _alone = alone();
    let scratch = tempfile::tempdir().unwrap();
    let (store, trusted) = certificate(scratch.path(), "broker");
    let (_, other) = certificate(scratch.path(), "other");
    let [port, controller, secure] = free_ports();
    let more = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={PASSWORD}
",
        store.display()
    );
    let user = format!("SCRAM-SHA-512=[name=alice,password={PASSWORD}]");
    let folder = scratch.path().join("broker");
    let Some(broker) = broker_with(&folder, [port, controller], &more, &["--add-scram", &user]) else { return };
    let cluster = cluster_of(&broker);
    const COUNT: usize = 2000;
    let (input, expected) = (transactions(&cluster, COUNT, 2), expected(COUNT, scratch.path()));
    let output = cluster.topic("predictions", 2);
    let secured = |topic: &str, password: &str, trusted: &Path| {
        format!(
            "kafka://127.0.0.1:{secure}/{topic}?security.protocol=SASL_SSL&sasl.mechanism=SCRAM-SHA-512\
             &sasl.username=alice&sasl.password={password}&ssl.ca.location={}",
            trusted.display()
        )
    };
    let with = |password: &str, trusted: &Path| {
        let input = secured(&input.name, password, trusted);
        let mut command =
            live_job(&input, &secured(&output.name, password, trusted), &scratch.path().join("checkpoints"), 2);
        command.arg("--until-end");
        command
    };
    let errors = fail(&mut with("battery-staple", &trusted));
    assert!(errors.contains("sasl") && !errors.contains("battery-staple"), "{errors}");
    let errors = fail(&mut with(PASSWORD, &other));
    assert!(errors.contains("ssl") && errors.contains("certificate"), "{errors}");
    finish(&mut with(PASSWORD, &trusted));
    exactly_once_and_in_order(&output.committed(), &expected, "TLS and SCRAM");
}
