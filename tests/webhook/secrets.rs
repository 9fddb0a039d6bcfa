//! Tokens and signatures: read from where they are, and shown nowhere.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::{example, fail, finish, small_example};
use tidemill::prelude::*;
use tidemill::webhook::WebhookUrl;

use crate::faults::{each_under_one_key, run, sink};
use crate::refused::contains;
use crate::server::{Reply, Server};

fn file(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The signature, as OpenSSL's own program computes it.
fn by_openssl(secret: &[u8], signed: &str) -> String {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex}"), "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    STANDARD.encode(child.wait_with_output().unwrap().stdout)
}

#[test]
fn a_signature_is_what_openssl_computes_and_each_try_has_the_time_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let secret = b"0123456789abcdef01234567";
    let path = file(scratch.path(), "secret", &format!("whsec_{}\n", STANDARD.encode(secret)));
    let mut tries = 0;
    let server = Server::start(move |_| {
        tries += 1;
        if tries == 1 { Reply::With(503, "Retry-After: 2\r\n", String::new()) } else { Reply::Status(200) }
    });
    run(sink(&server).secret_file(path), 3).unwrap();
    each_under_one_key(&server, 3);
    let requests = server.requests();
    let mut times = Vec::new();
    for request in &requests {
        let [id, time, signature] =
            ["id", "timestamp", "signature"].map(|name| &request.headers[&format!("webhook-{name}")]);
        assert_eq!(id, request.key());
        assert_eq!(*signature, format!("v1,{}", by_openssl(secret, &format!("{id}.{time}.{}", request.body))));
        times.push(time.parse::<u64>().unwrap());
    }
    let again: Vec<u64> =
        (0..requests.len()).filter(|at| requests[*at].key() == requests[0].key()).map(|at| times[at]).collect();
    assert!(again.len() == 2 && again[1] > again[0], "{again:?}");
}

/// vectordotdev/vector#19614: a token that expires each hour costs the events until it is renewed.
#[test]
fn a_token_that_expires_is_read_again_and_costs_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let path = file(scratch.path(), "token", "Bearer one\n");
    let server = Server::start({
        let (path, mut taken) = (path.clone(), 0);
        move |request| {
            let valid = if taken < 10 { "Bearer one" } else { "Bearer two" };
            if taken == 10 {
                std::fs::write(&path, "Bearer two\n").unwrap();
            }
            if request.headers["authorization"] != valid {
                return Reply::With(401, "WWW-Authenticate: Bearer\r\n", "expired".to_owned());
            }
            taken += 1;
            Reply::Status(200)
        }
    });
    let report = run(sink(&server).header_file("Authorization", &path), 30).unwrap();
    each_under_one_key(&server, 30);
    let out = report.operator("out").unwrap();
    assert_eq!((out.counter("requests_refused"), out.counter("requests_delivered")), (0, 30));
    // Each worker was refused once at most.
    assert!((31..=32).contains(&server.requests().len()), "{}", server.requests().len());
}

#[test]
fn a_secret_that_cannot_be_used_is_refused_and_not_shown() {
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::taking();
    let short = file(scratch.path(), "short", &format!("whsec_{}", STANDARD.encode("hunter2")));
    let error = run(sink(&server).secret_file(short), 1).unwrap_err().report();
    contains(&error, &["the secret of the signature cannot be used: it has 7 bytes, and should have 24 to 64"]);
    assert!(!error.contains(&STANDARD.encode("hunter2")), "{error}");
    let broken = file(scratch.path(), "broken", "Bearer hunter2\u{7f}");
    let error = run(sink(&server).header_file("Authorization", broken), 1).unwrap_err().report();
    assert!(error.contains("a character that no header has") && !error.contains("hunter2"), "{error}");
    assert_eq!(server.requests(), []);
}

/// jestasecurity/thumper#33, signalfx/golib#229: the URL, or all headers, are in the error of a request, with their tokens. Here
/// the server even sends back what it got.
#[test]
fn nothing_that_a_program_prints_has_a_secret() {
    let scratch = tempfile::tempdir().unwrap();
    let token = file(scratch.path(), "token", "Bearer hunter2");
    let server = Server::start(|request| {
        let token = request.headers["authorization"].strip_prefix("Bearer ").unwrap();
        let echo = format!("you sent {token} to {}", request.line);
        Reply::With(500, "", echo)
    });
    let text = format!(
        "webhook+{}#authorization-file={}&header=X-Key:hunter2&patience=1s",
        server.url("/hunter2/in?key=hunter2"),
        token.display()
    );
    let url: WebhookUrl = text.parse().unwrap();
    let shown = format!("{url} {url:?} {:?}", WebhookSink::<u64>::from_url(&url));
    assert!(shown.contains("http://127.0.0.1") && !shown.contains("hunter2"), "{shown}");
    let mut program = small_example("iot_window");
    program.args(["--machines", "10", "--seconds", "30", "--log-level", "trace", "--predictions", &text]);
    program.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
    let printed = fail(&mut program);
    contains(
        &printed,
        &["could not send the request", "500 Internal Server Error: \"you sent … to POST …\"", "it is tried again"],
    );
    assert!(!printed.contains("hunter2"), "{printed}");
    // Secrets in a URL over plain HTTP are warned about once.
    assert_eq!(printed.matches("headers are sent in the clear").count(), 1, "{printed}");
    let refused = fail(example("iot_window").args(["--predictions", "webhook+https://me:hunter2@h/"]));
    assert!(refused.contains("does not belong in a URL"), "{refused}");
    server.answer(|_| Reply::Status(200));
    finish(&mut program);
}
