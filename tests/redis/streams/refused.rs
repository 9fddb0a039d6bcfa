//! What cannot work is refused at the start, and what cannot be decoded is a dead letter.

use tests::crashes::errors;

use super::job::{World, tell};
use testkit::objects;
use tests::crashes::stop;

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let Some(mut world) = World::new() else { return };
    tell(&world.running.server, "SET s:1 text");
    let mut says = |options: &str, parts: &[&str]| {
        world.options = options.to_owned();
        let output = world.read_all(2);
        let text = errors(&output);
        assert!(!output.status.success(), "{options}: {text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "no \"{part}\" in: {text}"));
    };
    says("", &["read the stream \"s:1\"", "WRONGTYPE"]);
    says("&start=yesterday", &["start=yesterday: it should be earliest, latest, or the id of an entry"]);
    says("&group=g", &["no option is called \"group\""]);
    says("&password-env=TIDEMILL_NOT_SET", &["TIDEMILL_NOT_SET"]);
    world.options.clear();
    tell(&world.running.server, "DEL s:1");
    tell(&world.running.server, "ACL SETUSER default -xinfo");
    let output = world.read_all(1);
    assert!(errors(&output).contains("NOPERM"), "{}", errors(&output));
    // Only the entries themselves are forbidden: the answer to a transaction would not say which command it was.
    tell(&world.running.server, "ACL SETUSER default +xinfo -xread");
    tell(&world.running.server, "XADD s:0 * n 1 celsius 1");
    let output = world.read_all(1);
    assert!(errors(&output).contains("NOPERM"), "{}", errors(&output));
}

/// A checkpoint of a stream that is named no more: what was added to it since would be skipped in silence.
#[test]
fn a_checkpoint_of_other_streams_is_refused_and_new_streams_are_read_from_their_start() {
    let Some(mut world) = World::new() else { return };
    world.add(0..30);
    let job = world.start(2);
    world.until_written(30);
    stop(job);
    tell(&world.running.server, "XADD more * n 30 celsius 1");
    world.options = "&stream=more".to_owned();
    let job = world.start(1);
    world.until_written(31);
    stop(job);
    world.has_each_once(0..31, "with a stream more");
    world.options.clear();
    let text = errors(&world.read_all(1));
    assert!(text.contains("the checkpoint was reading the stream \"more\", and this run reads"), "{text}");
}

/// redpanda-data/connect#1338: an entry without the field that was asked for stays pending for ever.
#[test]
fn an_entry_that_cannot_be_decoded_is_a_dead_letter_and_the_next_is_read() {
    let Some(mut world) = World::new() else { return };
    world.add(0..3);
    tell(&world.running.server, "XADD s:1 5000000000000-7 n seven celsius 1");
    tell(&world.running.server, "XADD s:1 5000000000000-8 m 8");
    tell(&world.running.server, "XADD s:1 5000000000000-9 n 9 celsius 1");
    let output = world.read_all(2);
    assert!(output.status.success(), "{}", errors(&output));
    world.has_each_once([0, 1, 2, 9], "beside dead letters");
    let letters = objects(&world.path("readings.dead"));
    let text = |index: usize, field: &str| letters[index][field].as_str().unwrap().to_owned();
    assert_eq!(
        (letters.len(), text(0, "origin"), text(1, "origin")),
        (2, "s:1@5000000000000-7".to_owned(), "s:1@5000000000000-8".to_owned())
    );
    assert!(text(0, "reason").contains("field \"n\" is \"seven\""), "{}", text(0, "reason"));
    assert!(text(1, "reason").contains("missing field `n`"), "{}", text(1, "reason"));
}
