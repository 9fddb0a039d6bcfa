//! The command as a person types it: over the checkpoints of a job that runs, of one that was stopped, and of a damaged
//! one. A running job does not notice it. The page of the command has its help, word for word. Two checkpoints differ as
//! their dumps do, and a dump is the same in all formats.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::page::ReferencePage;
use testkit::{example, project};

fn tidemill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill")).args(args).output().expect("the command starts")
}

/// Runs an action over a store. Checks its exit code, and returns what it prints to stdout.
fn checkpoints(store: &Path, code: i32, args: &[&str]) -> String {
    let store = store.to_string_lossy();
    let output = tidemill(&[&["checkpoints"], args, &["--store", &store]].concat());
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{errors}");
    assert_eq!(errors.is_empty(), code == 0, "{args:?}: {errors}");
    if code != 0 && code != 4 {
        return errors.into_owned();
    }
    out.into_owned()
}

fn start(folder: &Path) -> Child {
    let mut job = example("fraud_velocity");
    job.args(["--rate", "20000", "--checkpoint-interval", "50ms", "--count", "1000000000", "--checkpoint-dir"]);
    job.arg(folder.join("checkpoints")).arg("--predictions").arg(folder.join("predictions"));
    job.spawn().expect("the job starts")
}

fn stop(job: Child) {
    assert!(Command::new("kill").args(["-TERM", &job.id().to_string()]).status().expect("kill").success());
    let output = job.wait_with_output().expect("the job ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The numbers of the newest file and of the claims of starts, as `list --json` has them.
fn numbers(store: &Path) -> (u64, usize) {
    let text = checkpoints(store, 0, &["list", "--json"]);
    let number = |line: &str| line.trim().strip_prefix("\"number\": ")?.trim_end_matches(',').parse().ok();
    let claims = text.lines().filter(|line| line.contains("\"kind\": \"claim\"")).count();
    (text.lines().filter_map(number).max().unwrap_or_default(), claims)
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_for_epoch(store: &Path, job: &mut Child, epoch: u64) {
    let began = Instant::now();
    while !store.join("manifests").is_dir() || numbers(store).0 < epoch {
        assert!(began.elapsed() < Duration::from_secs(60), "no epoch {epoch} in a minute");
        assert!(job.try_wait().expect("a child").is_none(), "the job ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_job_does_not_notice_the_command_and_damage_of_a_stopped_one_is_found() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = scratch.path().join("checkpoints");
    let mut job = start(scratch.path());
    wait_for_epoch(&store, &mut job, 3);
    let (top, (newest, claims)) = (names(&store), numbers(&store));
    for _ in 0..20 {
        assert!(checkpoints(&store, 0, &["list"]).contains("checkpoint"));
        assert!(checkpoints(&store, 0, &["show"]).contains("STATES"));
        checkpoints(&store, 0, &["verify"]);
    }
    wait_for_epoch(&store, &mut job, newest + 3);
    assert_eq!((names(&store), numbers(&store).1.max(claims)), (top, claims), "nothing was created, nothing claimed");
    stop(job);

    compared(&store, "latest~1");
    // The last epoch of a job that is stopped may have no records; the one before it took an interval to fill.
    assert!(compared(&store, "latest~2") > 0, "two epochs change nothing");
    let table = checkpoints(&store, 0, &["diff", "latest", "latest"]);
    assert!(table.contains("card-velocity/spent") && table.contains("SIZE AFTER"), "{table}");
    assert!(checkpoints(&store, 2, &["diff", "latest", "999999"]).contains("there is no such checkpoint"));
    let before = names(&store.join("manifests"));
    let dry = checkpoints(&store, 0, &["prune", "--keep", "1"]);
    assert!(dry.contains("would delete manifests/") && dry.contains("add --yes"), "{dry}");
    assert_eq!(names(&store.join("manifests")), before, "a dry run");
    checkpoints(&store, 0, &["prune", "--keep", "1", "--yes"]);
    assert_eq!(names(&store.join("manifests")).len(), 1);
    assert!(checkpoints(&store, 0, &["verify"]).contains("1 of 1 checkpoints are whole"));
    damaged(&store);
    dumped(&store);
    // The job goes on from what was kept.
    let (last, _) = numbers(&store);
    let mut again = start(scratch.path());
    wait_for_epoch(&store, &mut again, last + 3);
    stop(again);
}

/// Flips a byte of the newest delta, and restores it.
fn damaged(store: &Path) {
    let name = names(&store.join("deltas")).pop_last().expect("a delta");
    let file: PathBuf = store.join("deltas").join(&name);
    let bytes = fs::read(&file).expect("a delta");
    let mut flipped = bytes.clone();
    flipped[40] ^= 4;
    fs::write(&file, flipped).expect("it is written");
    let found = checkpoints(store, 4, &["verify"]);
    assert!(found.contains(&format!("changed: deltas/{name} at byte 40: expected crc32 ")), "{found}");
    assert!(checkpoints(store, 4, &["verify", "latest", "--json"]).contains("\"offset\": 40"));
    fs::write(&file, bytes).expect("it is written");
    checkpoints(store, 0, &["verify"]);
}

/// Every row of a log and of pending records is read without the program's types.
fn dumped(store: &Path) {
    let store = store.to_string_lossy();
    let dump = |state: &str, more: &[&str]| {
        let output = tidemill(&[&["state", "dump", state, "--store", &store], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    for (state, field) in
        [("card-velocity/spent", "\"value\":{\"time\":"), ("terminal-risk/pending", "\"event_time\":")]
    {
        let rows = dump(state, &[]);
        assert!(
            rows.contains(field) && !rows.contains("undecoded"),
            "{state}: {}",
            rows.lines().next().unwrap_or("none")
        );
        assert_eq!(dump(state, &["--count"]).trim(), rows.lines().count().to_string());
        assert_eq!(dump(state, &["--limit", "1"]).lines().count(), 1);
    }
    formats(&store);
    let list =
        |more: &[&str]| String::from_utf8(tidemill(&[&["state", "list", "--store", &store], more].concat()).stdout);
    let table = list(&[]).expect("text");
    assert!(table.contains("card-velocity") && table.contains("log") && !table.contains("ROWS"), "{table}");
    let counted: Value = serde_json::from_str(&list(&["--count", "--json"]).expect("text")).expect("JSON");
    let states = counted["states"].as_array().expect("a list");
    let spent = states.iter().find(|state| state["name"] == "card-velocity/spent").expect("the state");
    assert_eq!(spent["rows"].to_string(), dump("card-velocity/spent", &["--count"]).trim());
    assert!(spent["bytes"].as_u64() > spent["rows"].as_u64() && spent["key_groups"].as_u64() <= Some(128), "{spent}");
    let output = tidemill(&["state", "dump", "none", "--store", &store]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("card-velocity/spent"), "the error names the states");
}

/// CSV has what JSON has, and so has Parquet; keys are found by their text.
fn formats(store: &str) {
    let state = "card-velocity/spent";
    let dump = |more: &[&str]| tidemill(&[&["state", "dump", state, "--store", store], more].concat()).stdout;
    let json = String::from_utf8(dump(&[])).expect("text");
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut csv = csv::Reader::from_reader(std::io::Cursor::new(dump(&["--format", "csv"])));
    let head = csv.headers().expect("a head").clone();
    assert!(head.iter().any(|name| name == "value.time") && head.iter().any(|name| name == "key"), "{head:?}");
    let csv: Vec<csv::StringRecord> = csv.records().collect::<Result<_, _>>().expect("CSV");
    assert_eq!(csv.len(), json.len());
    for (row, expected) in csv.iter().zip(&json) {
        for (name, cell) in head.iter().zip(row) {
            let wanted = match expected.pointer(&format!("/{}", name.replace('.', "/"))) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            assert_eq!(cell, wanted, "{name} of {expected}");
        }
    }
    #[cfg(feature = "parquet")]
    {
        let (columns, rows) = parquet_rows(dump(&["--format", "parquet"]));
        assert!(columns.iter().eq(head.iter()), "{columns:?}");
        assert!(rows == json, "{:?}", rows.iter().zip(&json).find(|(found, expected)| found != expected));
    }
    let key = json[0]["key"].to_string();
    let with_key = |row: &&Value| row["key"] == json[0]["key"];
    let text = String::from_utf8(dump(&["--key", &key])).expect("text");
    assert_eq!(text.lines().count(), json.iter().filter(with_key).count());
    let begins = |row: &&Value| row["key"].to_string().starts_with(&key[..1]);
    let text = String::from_utf8(dump(&["--prefix", &key[..1], "--count"])).expect("text");
    assert_eq!(text.trim(), json.iter().filter(begins).count().to_string());
}

/// The columns of a file of Parquet, and its rows as JSON: fields by their dotted names, without nulls.
#[cfg(feature = "parquet")]
fn parquet_rows(file: Vec<u8>) -> (Vec<String>, Vec<Value>) {
    use arrow_array::{Array, Float64Array, Int64Array, StringArray, UInt64Array};
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(file), 1024)
        .expect("Parquet");
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for batch in reader {
        let batch = batch.expect("rows");
        columns = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        for at in 0..batch.num_rows() {
            let mut row = serde_json::json!({});
            for (name, column) in columns.iter().zip(batch.columns()) {
                let column = column.as_any();
                let value = if let Some(column) = column.downcast_ref::<Int64Array>() {
                    (!column.is_null(at)).then(|| Value::from(column.value(at)))
                } else if let Some(column) = column.downcast_ref::<UInt64Array>() {
                    (!column.is_null(at)).then(|| Value::from(column.value(at)))
                } else if let Some(column) = column.downcast_ref::<Float64Array>() {
                    (!column.is_null(at)).then(|| Value::from(column.value(at)))
                } else {
                    let column = column.downcast_ref::<StringArray>().expect("a column of texts");
                    // A list or a record is there as JSON.
                    let value = |text: &str| match serde_json::from_str(text) {
                        Ok(json @ (Value::Array(_) | Value::Object(_))) => json,
                        _ => Value::from(text),
                    };
                    (!column.is_null(at)).then(|| value(column.value(at)))
                };
                let Some(value) = value else { continue };
                let field = name.split('.').fold(&mut row, |within, field| &mut within[field]);
                *field = value;
            }
            rows.push(row);
        }
    }
    (columns, rows)
}

/// The newest checkpoint differs from an earlier one as their dumps do. Returns in how many rows.
fn compared(store: &Path, earlier: &str) -> usize {
    let rows = |epoch: &str, state: &str| -> BTreeMap<String, String> {
        let output = tidemill(&["state", "dump", state, "--epoch", epoch, "--store", &store.to_string_lossy()]);
        let text = String::from_utf8(output.stdout).expect("text");
        let identity = |line: &str| {
            let row: Value = serde_json::from_str(line).expect("JSON");
            ["key", "sequence", "time_ms"].map(|field| row[field].to_string()).join(" ")
        };
        text.lines().map(|line| (identity(line), line.to_owned())).collect()
    };
    let found: Value = serde_json::from_str(&checkpoints(store, 0, &["diff", earlier, "--json"])).expect("JSON");
    let mut differing = 0;
    for state in found["states"].as_array().expect("a list") {
        let name = state["state"].as_str().expect("a name");
        let (before, after) = (rows(earlier, name), rows("latest", name));
        let both: Vec<&String> = before.keys().filter(|key| after.contains_key(*key)).collect();
        let same = both.iter().filter(|key| before[**key] == after[**key]).count();
        let expected = [after.len() - both.len(), before.len() - both.len(), both.len() - same, same];
        let counts =
            ["added", "removed", "changed", "same"].map(|field| state[field].as_u64().expect("a number") as usize);
        assert_eq!(counts, expected, "{state}");
        differing += counts[0] + counts[1] + counts[2];
    }
    differing
}

#[test]
fn what_cannot_be_done_is_said_with_the_exit_code_of_its_kind() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let nothing = checkpoints(scratch.path(), 2, &["list"]);
    assert!(nothing.contains("is not a checkpoint directory"), "{nothing}");
    assert!(names(scratch.path()).is_empty(), "nothing is created");
    assert!(checkpoints(&scratch.path().join("none"), 3, &["list"]).contains("could not open"));
    fs::create_dir(scratch.path().join("manifests")).expect("a folder");
    assert!(checkpoints(scratch.path(), 2, &["show", "7"]).contains("there is none"));
    assert!(checkpoints(scratch.path(), 2, &["show", "latest~x"]).contains("latest~N"));
    assert!(checkpoints(scratch.path(), 2, &["prune"]).contains("--keep"));
}

/// The actions of a topic, as its help lists them.
fn actions(topic: &[&str]) -> Vec<String> {
    let help = String::from_utf8(tidemill(&[topic, &["-h"]].concat()).stdout).expect("text");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_command_has_its_help() {
    let page = ReferencePage::read(&project().join("docs/operate/command.md"));
    let mut count = 0;
    for topic in actions(&[]) {
        let below = actions(&[&topic]);
        let of_topic = || vec![topic.as_str()];
        let commands: Vec<Vec<&str>> = match &below[..] {
            [] => vec![of_topic()],
            _ => below.iter().map(|action| [of_topic(), vec![action.as_str()]].concat()).collect(),
        };
        for command in commands {
            let help = String::from_utf8(tidemill(&[&command[..], &["-h"]].concat()).stdout).expect("text");
            let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
            let written = page.code(Some(&format!("tidemill {}", command.join(" "))), "text");
            assert_eq!(written, help.join("\n"), "the page of {command:?}");
            count += 1;
        }
    }
    assert_eq!(count, 22);
}
