//! Entries that are gone before they were read.

use std::process::Output;

use tests::crashes::errors;

use super::job::{World, stream_of, tell};
use tests::crashes::{end, stop};

fn refused(output: &Output, parts: &[&str]) {
    let text = errors(output);
    assert!(!output.status.success(), "it was not refused: {text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "no \"{part}\" in: {text}"));
}

/// A world in which 30 readings were read by a job that was stopped.
fn read() -> Option<World> {
    let world = World::new()?;
    world.add(0..30);
    let job = world.start(2);
    world.until_written(30);
    stop(job);
    Some(world)
}

/// Goes on where a start was refused, since the user accepts it.
fn accepted(mut world: World, wanted: impl IntoIterator<Item = u64>, when: &str) {
    world.options = "&lost-entries=accept".to_owned();
    let output = world.read_all(1);
    assert!(output.status.success(), "{when}: {}", errors(&output));
    assert!(errors(&output).contains("entries are lost, which is accepted"), "{}", errors(&output));
    world.has_each_once(wanted, when);
}

#[test]
fn what_was_trimmed_unread_is_counted_and_stops_the_next_start() {
    let Some(mut world) = read() else { return };
    world.add(30..60);
    tell(&world.running.server, "XTRIM s:1 MAXLEN 4");
    refused(
        &world.read_all(2),
        &["the stream \"s:1\" lacks entries: 6 of its entries were trimmed or deleted", "lost_entries"],
    );
    // Of 30 to 59, the stream had 31, 34, … and has the last four of them.
    let lost = [31, 34, 37, 40, 43, 46];
    accepted(world, (0..60).filter(|number| !lost.contains(number)), "trimmed");
}

#[test]
fn what_was_read_may_be_trimmed_and_deleted() {
    let Some(mut world) = read() else { return };
    tell(&world.running.server, "XTRIM s:0 MAXLEN 0");
    let first: Vec<(String, Vec<String>)> = world.running.query("XRANGE s:1 - + COUNT 1");
    tell(&world.running.server, &format!("XDEL s:1 {}", first[0].0));
    world.add(30..60);
    let output = world.read_all(3);
    assert!(output.status.success(), "{}", errors(&output));
    world.has_each_once(0..60, "trimmed after it was read");
}

/// An entry in the middle that is deleted before it is read: the trim's check of the first entry would not see it.
#[test]
fn an_entry_that_is_deleted_from_the_middle_is_noticed_too() {
    let Some(mut world) = read() else { return };
    world.add(30..60);
    let all: Vec<(String, Vec<String>)> = world.running.query("XRANGE s:2 - +");
    // The third of those that are not read: 30 + 2 + 6.
    tell(&world.running.server, &format!("XDEL s:2 {}", all[12].0));
    refused(&world.read_all(1), &["the stream \"s:2\" lacks entries: 1 of its entries"]);
    accepted(world, (0..60).filter(|number| *number != 38), "deleted");
}

#[test]
fn a_stream_that_was_deleted_or_made_again_stops_the_next_start() {
    let Some(mut world) = read() else { return };
    tell(&world.running.server, "DEL s:0");
    refused(&world.read_all(2), &["the stream \"s:0\" lacks entries: it is not there any more", "was read from it"]);
    tell(&world.running.server, "XADD s:0 1-0 n 1000 celsius 1");
    refused(&world.read_all(2), &["its newest entry is 1-0", "was deleted and made again"]);
    tell(&world.running.server, "DEL s:0");
    accepted(world, 0..30, "deleted");
}

/// walmartlabs/cookie-cutter#206: a stream was lost while it was read, and made again; the consumer never got anything from it,
/// and reported nothing.
#[test]
fn a_stream_that_is_lost_and_made_again_while_the_job_runs_stops_it() {
    let Some(mut world) = World::new() else { return };
    world.add(0..30);
    let job = world.start(2);
    world.until_written(30);
    tell(&world.running.server, "DEL s:0");
    world.add(30..33);
    refused(&end(job), &["the stream \"s:0\" lacks entries", "made again"]);
    world.options = "&lost-entries=accept".to_owned();
    let job = world.start(1);
    world.add(33..60);
    world.until_written(60);
    stop(job);
    world.has_each_once(0..60, "made again");
    assert_eq!(stream_of(30), "s:0");
}

/// A reader that is behind a stream with MAXLEN loses what it does not get in time; it is told how many that were.
#[test]
fn a_running_job_that_is_overtaken_by_a_trim_stops_before_it_reads_on() {
    let Some(world) = World::new() else { return };
    world.add(0..30);
    let job = world.start(1);
    world.until_written(30);
    let server = &world.running.server;
    // In one transaction, so that no reading is between.
    let mut both = redis::pipe();
    both.atomic();
    (0..50).for_each(|n| {
        both.cmd("XADD").arg("s:0").arg("*").arg("n").arg(1000 + n).arg("celsius").arg(1).ignore();
    });
    both.cmd("XTRIM").arg("s:0").arg("MAXLEN").arg(5).ignore();
    both.exec(&mut crate::server::connection(server)).unwrap();
    refused(&end(job), &["the stream \"s:0\" lacks entries: 45 of its entries"]);
    world.has_each_once(0..30, "nothing behind the gap is written");
}
