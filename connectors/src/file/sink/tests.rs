//! Parts appear whole, once, and where they belong, whatever was interrupted.

use std::path::Path;
use std::time::Duration;

use tidemill_engine::sink::{SinkWriter as _, Staged};
use tidemill_engine::{Arrival, Clock, Epoch, ErrorKind, EventTime};

use super::*;

const HOUR: i64 = 3_600_000;

fn context(incarnation: u64, restored: u64) -> SinkContext {
    let mut context = SinkContext::without_job("out", 0, 1, Clock::manual(Arrival(0)));
    (context.restored_epoch, context.incarnation) = (Epoch(restored), incarnation);
    context
}

fn record(n: u32) -> Record<u32> {
    Record { event_time: EventTime(i64::from(n) * HOUR), arrival: Arrival(0), data: n }
}

/// Returns the visible files, with their lines.
fn visible(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = walk(folder)
        .into_iter()
        .filter(|name| !name.split('/').any(|part| part.starts_with('.')))
        .map(|name| (name.clone(), fs::read_to_string(folder.join(&name)).unwrap().replace('\n', " ")))
        .collect();
    found.sort();
    found
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found
}

fn shown(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, lines)| ((*name).to_owned(), (*lines).to_owned())).collect()
}

fn rolled(folder: &Path) -> FileSink<u32> {
    FileSink::json_lines(folder).roll(RollSettings { interval: Duration::from_secs(60), max_bytes: 8 })
}

/// Writes records in an epoch, which is committed. Returns what was staged.
fn epoch(writer: &mut FileWriter<u32>, epoch: u64, records: &[u32]) -> Option<Vec<u8>> {
    records.iter().for_each(|n| writer.write(&record(*n)).unwrap());
    let Staged { token, flush, publish } = writer.stage(Epoch(epoch)).unwrap()?;
    flush().unwrap();
    publish().unwrap();
    Some(token)
}

#[test]
fn a_part_appears_when_it_is_published_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::json_lines(dir.path());
    let mut writer = sink.open(context(1, 1)).unwrap();
    assert!(writer.stage(Epoch(1)).unwrap().is_none(), "no part for nothing");
    writer.write(&record(7)).unwrap();
    let staged = writer.stage(Epoch(2)).unwrap().unwrap();
    (staged.flush)().unwrap();
    assert_eq!(visible(dir.path()), []);
    (staged.publish)().unwrap();
    assert_eq!(visible(dir.path()), shown(&[("part-e0000000002-w000.jsonl", "7 ")]));
}

#[test]
fn recovery_publishes_what_was_staged_and_clears_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::<u32>::json_lines(dir.path());
    let mut writer = sink.open(context(1, 1)).unwrap();
    writer.write(&record(1)).unwrap();
    let staged = writer.stage(Epoch(1)).unwrap().unwrap();
    writer.write(&record(2)).unwrap();
    drop(writer.stage(Epoch(2)).unwrap());
    drop(writer);
    let token = StagedToken { epoch: Epoch(1), token: staged.token };
    for _ in 0..2 {
        sink.recover(&context(2, 1), vec![token.clone()]).unwrap();
        assert_eq!(visible(dir.path()), shown(&[("part-e0000000001-w000.jsonl", "1 ")]));
        assert_eq!(walk(dir.path()).len(), 1);
    }
    let staged = String::from_utf8(token.token.clone()).unwrap();
    for (token, says) in [
        (staged.replace("\"version\":2", "\"version\":3"), "\"out\" staged in epoch 1 is a part of version 3"),
        (r#"{"version":3}"#.to_owned(), "this build reads versions 1 to 2"),
        (r#"{"version":1}"#.to_owned(), "\"out\" staged in epoch 1 is not a part file"),
        (String::new(), "is not a part file"),
    ] {
        let token = StagedToken { epoch: Epoch(1), token: token.into_bytes() };
        let error = sink.recover(&context(2, 1), vec![token]).unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains(says), "{error}");
    }
    assert!(sink.recover(&context(3, 0), Vec::new()).unwrap_err().to_string().contains("of another run"));
    fs::write(dir.path().join("part-e0000000001-w000.jsonl"), "changed").unwrap();
    assert!(sink.recover(&context(3, 1), vec![token]).unwrap_err().to_string().contains("changed by someone else"));
}

/// As builds wrote them before parts could have several pieces.
#[test]
fn a_token_of_the_first_version_is_published() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".part-w001-00-0.inprogress"), "5\n").unwrap();
    let token =
        br#"{"version":1,"temporary":".part-w001-00-0.inprogress","name":"part-e0000000004-w001.jsonl","len":2}"#;
    let token = StagedToken { epoch: Epoch(4), token: token.to_vec() };
    FileSink::<u32>::json_lines(dir.path()).recover(&context(2, 4), vec![token]).unwrap();
    assert_eq!(visible(dir.path()), shown(&[("part-e0000000004-w001.jsonl", "5 ")]));
}

#[test]
fn records_gather_until_their_part_is_large_or_old_enough_or_the_job_ends() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Arrival(0));
    let mut context = context(1, 0);
    context.clock = clock.clone();
    let mut writer = rolled(dir.path()).open(context).unwrap();
    epoch(&mut writer, 1, &[1, 2]).unwrap();
    epoch(&mut writer, 2, &[]).unwrap();
    assert_eq!(visible(dir.path()), []);
    epoch(&mut writer, 3, &[3, 4]).unwrap();
    let first = ("part-e0000000003-w000.jsonl", "1 2 3 4 ");
    assert_eq!(visible(dir.path()), shown(&[first]), "eight bytes");
    assert_eq!(epoch(&mut writer, 4, &[]), None, "nothing waits");
    epoch(&mut writer, 5, &[5]).unwrap();
    clock.set(Arrival(59_000_000));
    epoch(&mut writer, 6, &[]).unwrap();
    assert_eq!(visible(dir.path()), shown(&[first]));
    clock.set(Arrival(60_000_000));
    epoch(&mut writer, 7, &[]).unwrap();
    let second = ("part-e0000000007-w000.jsonl", "5 ");
    assert_eq!(visible(dir.path()), shown(&[first, second]), "it has waited for a minute");
    epoch(&mut writer, 8, &[6]).unwrap();
    writer.ends();
    epoch(&mut writer, 9, &[7]).unwrap();
    assert_eq!(visible(dir.path()), shown(&[first, second, ("part-e0000000009-w000.jsonl", "6 7 ")]));
    assert_eq!(walk(dir.path()).len(), 3, "no piece is left");
}

/// Two workers have pieces that wait; the next run has another number of workers, and closes the parts.
#[test]
fn what_waits_appears_with_a_restart_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = rolled(dir.path());
    let mut writers = [0, 1].map(|worker| {
        let mut context = context(1, 0);
        context.worker = worker;
        sink.open(context).unwrap()
    });
    let tokens = [0, 1].map(|at| {
        let older = epoch(&mut writers[at], 1, &[at as u32 * 2 + 1]).unwrap();
        let newest = epoch(&mut writers[at], 2, &[at as u32 * 2 + 2]).unwrap();
        [(1, older), (2, newest)].map(|(epoch, token)| StagedToken { epoch: Epoch(epoch), token })
    });
    // Of an epoch that was not committed.
    writers[0].write(&record(9)).unwrap();
    drop(writers[0].stage(Epoch(3)).unwrap());
    assert_eq!(visible(dir.path()), []);
    let wanted = shown(&[("part-e0000000002-w000.jsonl", "1 2 "), ("part-e0000000002-w001.jsonl", "3 4 ")]);
    for incarnation in 2..4 {
        sink.recover(&context(incarnation, 2), tokens.concat()).unwrap();
        assert_eq!((visible(dir.path()), walk(dir.path()).len()), (wanted.clone(), 2));
    }
    // Whoever has taken the part away has it.
    fs::remove_file(dir.path().join(&wanted[0].0)).unwrap();
    sink.recover(&context(4, 2), tokens.concat()).unwrap();
    assert_eq!(visible(dir.path()), wanted[1..]);
}

#[test]
fn a_part_that_was_interrupted_at_any_point_is_whole_after_a_restart() {
    for point in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let sink = rolled(dir.path());
        let mut writer = sink.open(context(1, 0)).unwrap();
        epoch(&mut writer, 1, &[1, 2]).unwrap();
        [3, 4].into_iter().for_each(|n| writer.write(&record(n)).unwrap());
        let staged = writer.stage(Epoch(2)).unwrap().unwrap();
        (staged.flush)().unwrap();
        let pieces = walk(dir.path());
        let part = dir.path().join("part-e0000000002-w000.jsonl");
        match point {
            0 => {}
            1 => fs::write(dir.path().join(".part-e0000000002-w000.jsonl.inprogress"), "1\n").unwrap(),
            2 => fs::write(&part, "1\n2\n3\n4\n").unwrap(),
            3 => {
                fs::write(&part, "1\n2\n3\n4\n").unwrap();
                fs::remove_file(dir.path().join(&pieces[0])).unwrap();
            }
            _ => (staged.publish)().unwrap(),
        }
        let token = StagedToken { epoch: Epoch(2), token: staged.token };
        for _ in 0..2 {
            sink.recover(&context(2, 2), vec![token.clone()]).unwrap();
            assert_eq!(visible(dir.path()), shown(&[("part-e0000000002-w000.jsonl", "1 2 3 4 ")]), "{point}");
            assert_eq!(walk(dir.path()).len(), 1, "{point}");
        }
    }
}

#[test]
fn a_piece_that_is_gone_or_was_changed_stops_the_start() {
    for (harm, says) in [(None, "is gone, a piece of"), (Some("x"), "has 1 bytes, the checkpoint says 4")] {
        let dir = tempfile::tempdir().unwrap();
        let sink = rolled(dir.path());
        let mut writer = sink.open(context(1, 0)).unwrap();
        epoch(&mut writer, 1, &[1, 2]).unwrap();
        let piece = dir.path().join(&walk(dir.path())[0]);
        [3, 4].into_iter().for_each(|n| writer.write(&record(n)).unwrap());
        let staged = writer.stage(Epoch(2)).unwrap().unwrap();
        (staged.flush)().unwrap();
        match harm {
            Some(text) => fs::write(piece, text).unwrap(),
            None => fs::remove_file(piece).unwrap(),
        }
        let token = StagedToken { epoch: Epoch(2), token: staged.token };
        let error = sink.recover(&context(2, 2), vec![token]).unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains(says), "{error}");
    }
}

#[test]
fn hidden_files_that_are_gone_before_they_are_published_stop_the_job() {
    let dir = tempfile::tempdir().unwrap();
    for roll in [Duration::ZERO, Duration::from_secs(60)] {
        let roll = RollSettings { interval: roll, max_bytes: 8 };
        let mut writer = FileSink::<u32>::json_lines(dir.path()).roll(roll).open(context(1, 0)).unwrap();
        [1, 2, 3, 4].into_iter().for_each(|n| writer.write(&record(n)).unwrap());
        let staged = writer.stage(Epoch(1)).unwrap().unwrap();
        (staged.flush)().unwrap();
        walk(dir.path()).iter().for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());
        let error = (staged.publish)().unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains("are gone"), "{error}");
    }
}

/// An old run publishes what it committed while the new one starts, which publishes the same.
#[test]
fn two_runs_may_publish_the_same_part_at_once() {
    for n in 0..400 {
        let dir = tempfile::tempdir().unwrap();
        let max_bytes = if n % 2 == 0 { 8 } else { 1 };
        let roll = RollSettings { interval: Duration::from_secs(60), max_bytes };
        let sink = FileSink::<u32>::json_lines(dir.path()).roll(roll);
        let mut writer = sink.open(context(1, 0)).unwrap();
        let last = if max_bytes == 8 { epoch(&mut writer, 1, &[1, 2]).map(|_| 2).unwrap() } else { 1 };
        [3, 4].into_iter().for_each(|n| writer.write(&record(n)).unwrap());
        let Staged { token, flush, publish } = writer.stage(Epoch(last)).unwrap().unwrap();
        flush().unwrap();
        std::thread::scope(|scope| {
            let old = scope.spawn(publish);
            sink.recover(&context(2, last), vec![StagedToken { epoch: Epoch(last), token }]).unwrap();
            old.join().unwrap().unwrap();
        });
        let lines = if max_bytes == 8 { "1 2 3 4 " } else { "3 4 " };
        assert_eq!(visible(dir.path()), shown(&[(&format!("part-e{last:010}-w000.jsonl"), lines)]));
        sink.recover(&context(3, last), Vec::new()).unwrap();
        assert_eq!(walk(dir.path()).len(), 1);
    }
}

/// What is below the folder of a sink may be another one's.
#[test]
fn a_start_removes_nothing_below_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("alerts")).unwrap();
    for name in ["alerts/.part-w000-01-0.inprogress", "alerts/part-e0000000009-w000.jsonl"] {
        fs::write(dir.path().join(name), "1\n").unwrap();
    }
    FileSink::<u32>::json_lines(dir.path()).recover(&context(2, 1), Vec::new()).unwrap();
    assert_eq!(walk(dir.path()).len(), 2);
    let partitioned = FileSink::<u32>::json_lines(dir.path()).partitioned_by_day();
    let error = partitioned.recover(&context(2, 1), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("has \"alerts/part-e0000000009-w000.jsonl\" of another run"), "{error}");
    partitioned.recover(&context(2, 9), Vec::new()).unwrap();
    assert_eq!(walk(dir.path()).len(), 2);
}

#[test]
fn records_go_to_the_folders_of_their_event_times() {
    let dir = tempfile::tempdir().unwrap();
    let sink = rolled(dir.path()).partitioned_by_hour();
    let mut writer = sink.open(context(1, 0)).unwrap();
    epoch(&mut writer, 1, &[0, 25, 0]).unwrap();
    epoch(&mut writer, 2, &[25, 0]).unwrap();
    let at = |day: u8, hour: u8| format!("dt=1970-01-0{day}/hour=0{hour}/part-e0000000002-w000.jsonl");
    let wanted = [(at(1, 0), "0 0 0 ".to_owned()), (at(2, 1), "25 25 ".to_owned())];
    assert_eq!(visible(dir.path()), wanted);
    // A run that begins anew finds them, too.
    let error = sink.recover(&context(2, 0), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("has \"dt=1970-01-0") && error.contains("of another run"), "{error}");
    let day = tempfile::tempdir().unwrap();
    let sink = FileSink::json_lines(day.path()).partitioned_by_day();
    let mut writer = sink.open(context(1, 0)).unwrap();
    epoch(&mut writer, 1, &[23]).unwrap();
    assert_eq!(visible(day.path()), shown(&[("dt=1970-01-01/part-e0000000001-w000.jsonl", "23 ")]));
}

#[test]
fn a_folder_must_be_below_that_of_the_sink_and_there_are_not_too_many() {
    let refused = |records: u32, partition: fn(u32) -> String| {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path()).partitioned_by(move |record: &Record<u32>| partition(record.data));
        let mut writer = sink.open(context(1, 0)).unwrap();
        (0..records).find_map(|n| writer.write(&record(n)).err()).map(|error| error.to_string()).unwrap_or_default()
    };
    for partition in [
        (|_| "../x".to_owned()) as fn(u32) -> String,
        |_| "/x".to_owned(),
        |_| String::new(),
        |_| "a/./../..".to_owned(),
        |_| "a//b".to_owned(),
        |_| "a/b/".to_owned(),
        |_| "a/./b".to_owned(),
        |_| "a/".repeat(600) + "a",
        |_| "a\0b".to_owned(),
        |_| "n".repeat(256),
    ] {
        assert!(refused(1, partition).contains("no path below that of the sink"));
    }
    assert_eq!(refused(256, |n| format!("n={n}")), "");
    assert!(refused(257, |n| format!("n={n}")).contains("more than 256 folders, among them \"n=256\""));
}
