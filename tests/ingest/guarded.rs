//! Who may send, and what no start accepts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use testkit::fail;
use tidemill::time::Clock;

use crate::client::Post;
use crate::job::{World, post, readings};
use tests::crashes::{signal, stop};

const TOKEN: &str = "hunter2-hunter2-hunter2";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn only_whoever_has_the_token_may_send_and_nothing_prints_it() {
    let mut world = World::new();
    std::fs::write(world.path("token"), format!("{TOKEN}\n")).unwrap();
    world.options = format!("token-file={}", world.path("token").display());
    let log = world.path("log");
    let mut job = world.job_at("trace", 2);
    job.stderr(std::fs::File::create(&log).unwrap());
    let mut job = world.started(&mut job);
    let with = |value: &str| post(0..1).header("Authorization", value).send(world.address).unwrap();
    for wrong in ["", "Bearer x", "Basic hunter2-hunter2-hunter2", "Bearer hunter2-hunter2-hunter"] {
        let reply = with(wrong);
        assert_eq!((reply.status, &*reply.headers["www-authenticate"]), (401, "Bearer"), "{wrong}");
        assert!(reply.detail().contains("Authorization: Bearer TOKEN") && !reply.body.contains("hunter2"), "{reply:?}");
    }
    let elsewhere = post(0..1).line("GET /nowhere HTTP/1.1").send(world.address).unwrap();
    assert_eq!(elsewhere.status, 401, "nobody without a token learns what there is");
    assert_eq!(with(&format!("Bearer {TOKEN}")).status, 200);
    signal(&job, "TERM");
    assert!(job.wait().unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("records are taken at http://") && !log.contains("hunter2"), "{log}");
    world.has_each_once(0..1, "with a token");
}

fn signed(id: &str, seconds: u64, body: &str) -> Post {
    let key = PKey::hmac(&STANDARD.decode(&SECRET[6..]).unwrap()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.update(format!("{id}.{seconds}.{body}").as_bytes()).unwrap();
    let signature = format!("v1,{}", STANDARD.encode(signer.sign_to_vec().unwrap()));
    let post = Post::lines(body).header("webhook-id", id).header("webhook-timestamp", &seconds.to_string());
    post.header("webhook-signature", &signature)
}

#[test]
fn only_signed_requests_are_taken_each_once_if_a_secret_is_set() {
    let world = World::with("secret-env=SIGNS");
    let job = world.started(world.job(2).env("SIGNS", SECRET));
    let now = Clock::system().now().0 / 1_000_000;
    let body = readings(0..2);
    let send = |request: Post| request.send(world.address).unwrap();
    let mut other = signed("msg_1", now, &body);
    other.body = readings(5..7).into_bytes();
    for (request, reason) in [
        (post(0..2), "needs the header webhook-id"),
        (other, "no signature in webhook-signature is that of this request"),
        (signed("msg_1", now - 301, &body), "more than 5 minutes"),
        (signed("msg_1", now + 900, &body), "more than 5 minutes"),
    ] {
        let reply = send(request);
        assert!(reply.status == 401 && reply.detail().contains(reason), "{reply:?}");
    }
    // Whoever listens and sends it again under a key of his own has it recognised by what is signed.
    for (key, repeated) in [("a", false), ("b", true)] {
        let reply = send(signed("msg_1", now, &body).key(key));
        assert_eq!((reply.status, reply.json()["repeated"] == true), (200, repeated));
    }
    stop(job);
    world.has_each_once(0..2, "signed");
}

/// A page on the web whose name was made to point to this machine sends that name.
#[test]
fn without_a_token_names_of_others_are_not_answered_to() {
    let world = World::new();
    let job = world.start(1);
    let mut request = post(0..1);
    request.headers[0].1 = "evil.example".to_owned();
    assert_eq!(request.send(world.address).unwrap().status, 421);
    // A form of a page can send, but none of these types.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        assert_eq!(Post::of(kind, readings(0..1)).send(world.address).unwrap().status, 415);
    }
    stop(job);
    world.has_each_once(0..0, "from pages");
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let mut world = World::new();
    let job = world.start(1);
    let mut other = World::new();
    other.address = world.address;
    let second = fail(&mut other.job(1));
    assert!(second.contains(&format!("could not listen at {}", world.address)), "{second}");
    drop(job);
    let mut refused = |options: &str, reason: &str| {
        options.clone_into(&mut world.options);
        let error = fail(&mut world.job(1));
        assert!(error.contains(reason), "{error}");
    };
    refused("workers=2", "no option is called \"workers\" (there are: token-file, token-env,");
    refused("token-env=NOT_THERE", "could not read the environment variable with the token, NOT_THERE");
    refused("token-file=/nowhere/token", "could not read the file with the token, \"/nowhere/token\"");
    refused("secret-file=/dev/null", "the secret of the signature of 127.0.0.1");
    world.address.set_ip([0, 0, 0, 0].into());
    world.options.clear();
    let error = fail(&mut world.job(1));
    assert!(error.contains("others than this machine can reach 0.0.0.0:") && error.contains("set a token"), "{error}");
}
