//! What is refused, with what was found and what was wanted.

use testkit::fail_with;
use tests::crashes::errors;

use crate::job::{World, has_each_once, job, start, until_written};
use crate::service::{Reply, Service};
use testkit::objects;
use tests::crashes::{end, stop};

#[test]
fn a_stream_that_is_not_there_and_one_of_another_name_are_refused() {
    let mut world = World::new(1);
    world.stream.put(0..1);
    let running = world.start(1);
    world.until_written(1);
    stop(running);
    world.stream.name = "other";
    let said = fail_with(2, &mut world.job(1));
    assert!(said.contains("\"other\"") && said.contains("ResourceNotFoundException"), "{said}");
    crate::stream::Stream::create(world.stream.endpoint.clone(), "other", 1);
    let said = fail_with(2, &mut world.job(1));
    assert!(said.contains("stream/readings") && said.contains("stream/other"), "{said}");
}

/// Its sequence numbers would be those of other records.
#[test]
fn a_stream_that_was_deleted_and_created_again_is_refused_with_both_sides() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    service.put(0, 0);
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 1);
    service.recreate();
    let said = errors(&end(running));
    let both = ["created at 1970-01-02T00:16:40Z", "created at 1970-01-01T00:16:40Z", "deleted and created again"];
    assert!(both.iter().all(|part| said.contains(part)), "{said}");
    let said = fail_with(4, &mut job(&service.url(""), &readings, 1));
    assert!(both.iter().all(|part| said.contains(part)), "{said}");
}

#[test]
fn a_stream_of_the_emulator_that_was_created_again_is_refused() {
    let world = World::new(1);
    world.stream.put(0..10);
    let running = world.start(1);
    world.until_written(10);
    stop(running);
    world.stream.delete();
    // The emulator has whole seconds.
    tests::crashes::wait(std::time::Duration::from_millis(1100));
    crate::stream::Stream::create(world.stream.endpoint.clone(), "readings", 1);
    world.stream.put(0..10);
    let said = fail_with(4, &mut world.job(1));
    assert!(said.contains("deleted and created again"), "{said}");
}

#[test]
fn records_that_have_expired_unread_stop_the_job_or_are_accepted() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    service.put(0, 0);
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 1);
    stop(running);
    service.put(0, 7);
    service.pass(30);
    service.put(0, 1);
    let said = fail_with(4, &mut job(&service.url(""), &readings, 1));
    let parts = ["readings/shardId-000000000000 was read up to", "for 24 h", "expired unread", "lost-records=accept"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    let running = start(&service.url("lost-records=accept"), &readings, 1);
    until_written(&readings, 2);
    stop(running);
    has_each_once(&readings, 2, "after a loss");
    assert!(objects(&readings).iter().all(|row| row["n"] != 7));
    // From now on nothing is missing.
    let running = start(&service.url(""), &readings, 1);
    service.put(0, 2);
    until_written(&readings, 3);
    stop(running);
}

#[test]
fn a_shard_that_is_gone_before_it_was_read_to_its_end_stops_the_job_or_is_accepted() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    service.put(0, 0);
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 1);
    stop(running);
    service.split(0);
    service.put(1, 1);
    service.put(2, 2);
    service.forget(0);
    let said = fail_with(4, &mut job(&service.url(""), &readings, 1));
    assert!(said.contains("shardId-000000000000 was read up to sequence number 100"), "{said}");
    let running = start(&service.url("lost-records=accept"), &readings, 2);
    until_written(&readings, 3);
    stop(running);
    has_each_once(&readings, 3, "after a lost shard");
}

#[test]
fn credentials_that_are_missing_or_refused_are_named_and_not_shown() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let mut without = job(&service.url(""), &readings, 1);
    without.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    without.env("HOME", folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    let said = fail_with(2, &mut without);
    assert!(said.contains("no credentials of AWS") && said.contains("AWS_ACCESS_KEY_ID is not set"), "{said}");
    for code in ["UnrecognizedClientException", "AccessDeniedException", "InvalidSignatureException"] {
        service.answer(move |_| Some(Reply::Refused(400, code)));
        let said = fail_with(2, &mut job(&service.url(""), &readings, 1));
        assert!(said.contains(code) && said.contains("said the service") && !said.contains("hunter2"), "{said}");
    }
    service.calls(|calls| {
        let authorization = &calls[0].headers["authorization"];
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/"), "{authorization}");
        assert!(authorization.contains("/eu-west-1/kinesis/aws4_request, SignedHeaders=content-type;host;x-amz-date;"));
    });
}

/// A wrong clock of the machine is found out by the first refusal, and keys that were replaced are looked for.
#[test]
fn a_refusal_of_the_keys_is_tried_once_more() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let mut count = 0;
    service.pass(-48);
    service.answer(move |call| {
        count += 1;
        let date = call.headers["x-amz-date"].clone();
        let refused = count == 1 || count == 9;
        assert!(count < 2 || date < jiff::Timestamp::now().strftime("%Y%m%dT").to_string(), "{date}");
        refused.then_some(Reply::Refused(
            400,
            if count == 1 { "InvalidSignatureException" } else { "ExpiredTokenException" },
        ))
    });
    service.put(0, 0);
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 1);
    service.put(0, 1);
    until_written(&readings, 2);
    stop(running);
    has_each_once(&readings, 2, "after refusals");
}

#[test]
fn options_that_do_not_exist_and_addresses_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (url, reason) in [
        ("kinesis://eu-west-1/s?begin=latest", "no option is called \"begin\" (there are: start,"),
        ("kinesis://eu-west-1/s?endpoint=127.0.0.1", "http[s]://host[:port]"),
        ("kinesis://eu-west-1/s?poll-interval=10ms", "5 reads a second"),
        ("kinesis://EU/s", "not a region"),
    ] {
        let said = fail_with(2, &mut job(url, &folder.path().join("readings"), 1));
        assert!(said.contains(reason), "{said}");
    }
}
