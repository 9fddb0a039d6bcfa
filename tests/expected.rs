//! The examples on real data. Every feature and window equals the result of an independent program, at any number of
//! workers and in any order within the watermark's bound; the scores equal those of ONNX Runtime. The small examples
//! print what their heads say.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use testkit::{agree, data, example, finish, lines, project, rows, seed, small_example};

fn check_fraud_features(folder: &Path, expected: &Path) -> Vec<String> {
    let found = lines(folder);
    let by_id: HashMap<u64, Value> = found
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .map(|value| (value["tx_id"].as_u64().expect("a tx_id"), value))
        .collect();
    assert_eq!(by_id.len(), found.len(), "a transaction came out twice");
    let expected = rows(expected);
    assert_eq!(expected.len(), 19_209);
    for row in &expected {
        let id: u64 = row["tx_id"].parse().expect("a tx_id");
        let features = &by_id.get(&id).unwrap_or_else(|| panic!("transaction {id} did not come out"))["features"];
        for (name, value) in row.iter().filter(|(name, _)| *name != "tx_id") {
            let exact = name.contains("_count_") || name.starts_with("is_") || name == "seconds_since_last";
            // Values in the expected file have nine digits.
            let relative = if exact { 0.0 } else { 1e-8 };
            assert!(
                agree(&features[name], value, relative),
                "transaction {id}: {name} is {}, expected {value}",
                features[name]
            );
        }
    }
    found
}

#[test]
fn fraud_features_and_scores_are_the_same_at_any_number_of_workers() {
    let (Some(input), Some(expected)) = (data("transactions.csv.gz"), data("transactions_expected_features.csv.gz"))
    else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut first: Option<Vec<String>> = None;
    for workers in ["1", "4"] {
        let folder = scratch.path().join(workers);
        let mut command = example("fraud_velocity");
        command.args(["--workers", workers]).arg("--input").arg(&input).arg("--predictions").arg(&folder);
        if workers == "4" {
            command.arg("--quality").arg(scratch.path().join("quality"));
        }
        finish(&mut command);
        let found = check_fraud_features(&folder, &expected);
        assert_eq!(found.len(), 940_312);
        match &first {
            None => first = Some(found),
            Some(first) => assert!(*first == found, "{workers} workers gave other lines than 1"),
        }
    }
    check_scores(&scratch.path().join("1"), "models/fraud_velocity.onnx", "probabilities", "1");
    check_quality(&scratch.path().join("quality"), &first.expect("lines"), &input);
}

/// Checks the reports of quality against sorted lists of the predictions whose charge-backs became known on each day.
fn check_quality(folder: &Path, predictions: &[String], input: &Path) {
    const DAY: i64 = 86_400_000;
    let frauds: HashSet<u64> = rows(input)
        .iter()
        .filter(|row| row["is_fraud"] == "1")
        .map(|row| row["tx_id"].parse().expect("a tx_id"))
        .collect();
    let mut days: BTreeMap<i64, Vec<(f64, bool)>> = BTreeMap::new();
    for line in predictions {
        let value: Value = serde_json::from_str(line).expect("a line of JSON");
        let known_at = value["ts"].as_i64().expect("a time") + 7 * DAY;
        // A score is of 32 bits.
        let score = f64::from(value["score"].as_f64().expect("a score") as f32);
        let is_fraud = frauds.contains(&value["tx_id"].as_u64().expect("a tx_id"));
        days.entry(known_at.div_euclid(DAY) * DAY).or_default().push((score, is_fraud));
    }
    let mut reports: Vec<Value> =
        lines(folder).iter().map(|line| serde_json::from_str(line).expect("a report")).collect();
    reports.sort_by_key(|report| report["start"].as_i64());
    assert_eq!(reports.len(), days.len());
    for (report, (start, mut scores)) in reports.iter().zip(days) {
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = scores.iter().filter(|(_, is)| *is).count();
        let alerts = scores.iter().filter(|(score, _)| *score > f64::from(0.85_f32)).count();
        assert_eq!(
            [&report["start"], &report["records"], &report["positives"], &report["alerts"], &report["unknown"]],
            [start, scores.len() as i64, positives as i64, alerts as i64, 0].map(Value::from).each_ref()
        );
        // Few scores of a day are equal, so the order among them hardly matters.
        let (mut above, mut wins) = (0_u64, 0_u64);
        for (_, is_fraud) in &scores {
            if *is_fraud { above += 1 } else { wins += above }
        }
        let pairs = (positives * (scores.len() - positives)) as f64;
        let area = report["roc_auc"].as_f64();
        assert_eq!(area.is_some(), pairs > 0.0, "{report}");
        assert!(area.is_none_or(|area| (area - wins as f64 / pairs).abs() < 1e-3), "{report}: {}", wins as f64 / pairs);
        let losses = scores.iter().map(|(score, is_fraud)| -(if *is_fraud { *score } else { 1.0 - score }).ln());
        let (loss, wanted) = (report["log_loss"].as_f64().expect("a loss"), losses.sum::<f64>() / scores.len() as f64);
        assert!((loss - wanted).abs() < 1e-9, "{report}: {wanted}");
        let best = scores.iter().take(100).filter(|(_, is)| *is).count() as f64 / 100.0;
        let found = report["precision_at"][0][1].as_f64().expect("a share");
        assert!((found - best).abs() < 0.03, "{report}: {best}");
    }
}

/// Returns the list of the riskiest terminals after each of its changes, computed with a loop.
fn riskiest_lists(input: &Path) -> Vec<String> {
    const DAY: i64 = 86_400_000;
    let mut changes: BTreeMap<i64, Vec<(u64, i64)>> = BTreeMap::new();
    for row in rows(input).iter().filter(|row| row["is_fraud"] == "1") {
        let terminal: u64 = row["terminal_id"].parse().expect("a terminal");
        let known_at = row["ts"].parse::<i64>().expect("a time") + 7 * DAY;
        changes.entry(known_at).or_default().push((terminal, 1));
        changes.entry(known_at + 30 * DAY).or_default().push((terminal, -1));
    }
    // For each terminal, the number of frauds that count, and the time at which the last one became known.
    let mut terminals: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    let (mut lists, mut last) = (Vec::new(), Vec::new());
    for (time, changes) in changes {
        for (terminal, change) in changes {
            let (frauds, known_at) = terminals.entry(terminal).or_default();
            *frauds += change;
            *known_at = if change > 0 { time } else { *known_at };
        }
        let mut list: Vec<_> = terminals.iter().filter(|(_, (frauds, _))| *frauds > 0).collect();
        list.sort_by_key(|(terminal, (frauds, _))| (-frauds, **terminal));
        list.truncate(10);
        let listed = list.into_iter().map(|(terminal, (frauds, known_at))| {
            format!(r#"{{"terminal_id":{terminal},"frauds":{frauds},"last_known_at":{known_at}}}"#)
        });
        let list: Vec<String> = listed.collect();
        if list != last {
            lists.push(format!(r#"{{"terminals":[{}]}}"#, list.join(",")));
            last = list;
        }
    }
    lists.sort_unstable();
    lists
}

#[test]
fn the_riskiest_terminals_are_those_with_the_most_frauds_of_thirty_days() {
    let Some(input) = data("transactions.csv.gz") else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let expected = riskiest_lists(&input);
    assert!(expected.len() > 1000, "the data has frauds: {}", expected.len());
    for workers in ["1", "3"] {
        let folder = |name: &str| scratch.path().join(format!("{name}-{workers}"));
        let mut command = example("fraud_velocity");
        command.args(["--workers", workers]).arg("--input").arg(&input);
        if workers == "3" {
            command.arg("--features-as-parquet");
        }
        finish(command.arg("--features").arg(folder("features")).arg("--riskiest").arg(folder("riskiest")));
        assert!(lines(&folder("riskiest")) == expected, "{workers} workers gave other lists than the loop");
    }
    let labels = rows(&input).iter().map(|row| (row["tx_id"].clone(), row["is_fraud"].clone())).collect();
    check_training_sets(&scratch.path().join("features-1"), &scratch.path().join("features-3"), &labels);
}

/// Checks that two training sets, of lines and of Parquet, have the same rows, and the labels of the input; an eighth of
/// the rows is compared.
fn check_training_sets(lines_in: &Path, parquet_in: &Path, labels: &HashMap<String, String>) {
    let (mut by_id, mut count): (HashMap<String, Value>, usize) = (HashMap::new(), 0);
    for part in std::fs::read_dir(parquet_in).expect("a folder").map(|entry| entry.expect("a part").path()) {
        let file = File::open(&part).expect("a part that can be read");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        for (at, batch) in reader.expect("a part of Parquet").enumerate() {
            let batch = batch.expect("rows");
            count += batch.num_rows();
            if at % 8 == 0 {
                let rows: Vec<Value> = serde_arrow::from_record_batch(&batch).expect("rows");
                by_id.extend(rows.into_iter().map(|row| (row["tx_id"].to_string(), row)));
            }
        }
    }
    let found = lines(lines_in);
    assert_eq!((found.len(), count), (labels.len(), labels.len()));
    let mut compared = 0;
    for line in found {
        let id = line.strip_prefix("{\"tx_id\":").and_then(|rest| rest.split(',').next()).expect("a tx_id");
        let Some(wanted) = by_id.get(id) else { continue };
        let row: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(row["is_fraud"].to_string(), labels[id], "transaction {id}");
        assert_eq!(row, *wanted, "transaction {id}");
        compared += 1;
    }
    assert!(compared == by_id.len() && compared > 100_000, "{compared} rows were compared");
}

#[test]
fn fraud_features_do_not_depend_on_order_within_the_bound() {
    let (Some(input), Some(expected)) = (data("transactions.csv.gz"), data("transactions_expected_features.csv.gz"))
    else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let shuffled = scratch.path().join("shuffled.csv");
    shuffle(&input, &shuffled, 600_000, &mut ChaCha8Rng::seed_from_u64(seed()));
    let folder = scratch.path().join("features");
    let mut command = example("fraud_velocity");
    command.args(["--workers", "2", "--max-out-of-orderness", "10min"]).arg("--input").arg(&shuffled);
    finish(command.arg("--features").arg(&folder));
    check_fraud_features(&folder, &expected);
}

/// Reorders the lines of a file: each moves by up to `bound_ms` of event time.
fn shuffle(input: &Path, output: &Path, bound_ms: i64, chance: &mut ChaCha8Rng) {
    let file = File::open(input).expect("data that can be read");
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    let header = reader.byte_headers().expect("a header").clone();
    let mut lines: Vec<(i64, csv::ByteRecord)> = reader
        .byte_records()
        .map(|record| record.expect("a row"))
        .map(|record| {
            let ts: i64 = std::str::from_utf8(&record[1]).expect("text").parse().expect("a time");
            (ts + chance.random_range(0..=bound_ms), record)
        })
        .collect();
    lines.sort_by_key(|(place, _)| *place);
    let mut writer = csv::Writer::from_writer(BufWriter::new(File::create(output).expect("a scratch file")));
    writer.write_byte_record(&header).expect("room");
    lines.iter().for_each(|(_, record)| writer.write_byte_record(record).expect("room"));
    writer.flush().expect("room");
}

#[test]
fn iot_windows_and_scores_are_as_expected() {
    let (Some(input), Some(expected)) = (data("sensors.csv.gz"), data("sensors_expected_windows.csv.gz")) else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let expected = rows(&expected);
    assert_eq!(expected.len(), 4519);
    for workers in ["1", "4"] {
        let folder = scratch.path().join(workers);
        finish(
            example("iot_window")
                .args(["--workers", workers])
                .arg("--input")
                .arg(&input)
                .arg("--predictions")
                .arg(&folder),
        );
        let found = lines(&folder);
        assert_eq!(found.len(), expected.len());
        let by_window: HashMap<(String, String), Value> = found
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
            .map(|value| {
                (
                    (value["machine_id"].as_str().unwrap_or_default().to_owned(), value["window_start"].to_string()),
                    value,
                )
            })
            .collect();
        for row in &expected {
            let window = &by_window[&(row["machine_id"].clone(), row["window_start"].clone())];
            for (name, value) in
                row.iter().filter(|(name, _)| !["machine_id", "window_start", "anomaly"].contains(&name.as_str()))
            {
                let found = if name == "count" { &window["count"] } else { &window["features"][name] };
                let near = found.as_f64().zip(value.parse::<f64>().ok()).is_some_and(|(a, b)| (a - b).abs() <= 1e-6);
                // Values in the expected file have nine digits.
                let fits =
                    agree(found, value, if name == "count" { 0.0 } else { 1e-8 }) || name.ends_with("_std") && near;
                assert!(fits, "{} {}: {name} is {found}, expected {value}", row["machine_id"], row["window_start"]);
            }
        }
    }
    check_scores(&scratch.path().join("1"), "models/iot_window.onnx", "scores", "0");
}

/// Checks that every score differs by at most 1e-6 from that of ONNX Runtime in Python for the same features.
fn check_scores(folder: &Path, model: &str, output: &str, column: &str) {
    let root = project();
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "\"{}\" is not there: run `cargo xtask setup`", python.display());
    let mut child = std::process::Command::new(python)
        .arg(root.join("tests/scores.py"))
        .args([folder.as_os_str(), root.join(model).as_os_str(), output.as_ref(), column.as_ref()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("Python starts");
    assert!(child.wait().expect("Python ends").success(), "the scores of {model} differ from ONNX Runtime's in Python");
    std::io::stdout().flush().expect("stdout");
}

/// Returns the lines that the head of a small example shows as its output.
fn shown(name: &str) -> Vec<String> {
    let source = std::fs::read_to_string(project().join(format!("examples/{name}.rs"))).expect("the example's source");
    let head =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    let text = head.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```");
    text.filter(|line| !line.starts_with("$ ")).map(str::to_owned).collect()
}

#[test]
fn the_small_examples_print_what_their_heads_say() {
    for (name, count) in [("hello", 12), ("windows", 15), ("process", 4), ("infer", 12)] {
        let output = finish(&mut small_example(name));
        let printed = String::from_utf8(output.stdout).expect("text");
        let shown = shown(name);
        assert!(shown.len() >= 3, "{name}: the head shows {shown:?}");
        let missing: Vec<_> = shown.iter().filter(|line| !printed.lines().any(|printed| printed == *line)).collect();
        assert!(missing.is_empty(), "{name} does not print {missing:#?}, but\n{printed}");
        assert_eq!(printed.lines().count(), count, "{name}:\n{printed}");
    }
}

/// What a bad version has scored is scored again by another one: as if that one had scored it at first.
#[test]
fn corrections_are_the_scores_of_the_other_version() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let models = scratch.path().join("models");
    let shipped = project().join("models/fraud_velocity.onnx");
    let worse = project().join("models/fraud_velocity_worse.onnx");
    testkit::publish_version(&models, "fraud_velocity", 1, &shipped).expect("a version");
    testkit::publish_version(&models, "fraud_velocity", 2, &worse).expect("a version");
    let job = |version: u64| {
        let mut command = example("fraud_velocity");
        command
            .args(["--count", "40000", "--use-model", &format!("fraud_velocity/{version}"), "--models"])
            .arg(&models);
        command
    };
    let folder = |name: &str| scratch.path().join(name);
    let by_id = |name: &str| -> BTreeMap<u64, Value> {
        let line = |line: &String| serde_json::from_str::<Value>(line).expect("a line of JSON");
        lines(&folder(name)).iter().map(line).map(|line| (line["tx_id"].as_u64().expect("an id"), line)).collect()
    };
    finish(job(2).args(["--switch", "fraud_velocity/1=2026-01-03T00:00:00Z", "--predictions"]).arg(folder("bad")));
    finish(job(1).arg("--predictions").arg(folder("good")));
    let mut rescored = job(1);
    rescored.args(["--bad-version", "fraud_velocity/2", "--workers", "2", "--rescore"]).arg(folder("bad"));
    finish(rescored.arg("--corrections").arg(folder("corrections")));
    let (bad, good, corrected) = (by_id("bad"), by_id("good"), by_id("corrections"));
    let is_bad = |line: &Value| line["model"].as_str().expect("a model").starts_with("fraud_velocity/2@");
    let wanted: Vec<&u64> = bad.iter().filter(|(_, line)| is_bad(line)).map(|(id, _)| id).collect();
    assert!(corrected.keys().eq(wanted), "{} corrections", corrected.len());
    assert!(corrected.len() > 1_000 && corrected.len() < 40_000, "{}", corrected.len());
    for (id, line) in corrected {
        assert_eq!((&line["old_score"], &line["score"]), (&bad[&id]["score"], &good[&id]["score"]), "{line}");
        assert_eq!((&line["old_model"], &line["model"]), (&bad[&id]["model"], &good[&id]["model"]), "{line}");
    }
    assert_eq!(lines(&folder("corrections")).len(), by_id("corrections").len(), "each once");
}
