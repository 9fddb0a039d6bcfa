//! `tidemill parity` as a person types it: it counts what a plain program counts, names the feature that differs and the
//! rows, and never says that the sides agree where it did not compare.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn parity(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command
        .current_dir(folder)
        .args(["parity", "served", "recomputed"])
        .args(args)
        .output()
        .expect("the command starts")
}

/// Compares by `tx_id`. Checks the exit code, and returns the document and the errors.
fn document(folder: &Path, code: i32, args: &[&str]) -> (Value, String) {
    let output = parity(folder, &[&["--key", "tx_id", "--json"], args].concat());
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), errors)
}

/// Returns what goes to stderr.
fn error(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = parity(folder, args);
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    errors
}

fn write(folder: &Path, name: &str, rows: &[Value]) {
    write_text(folder, name, &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
}

fn write_text(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("it is written");
}

fn served(key: u64, model: &str, features: Value) -> Value {
    json!({ "tx_id": key, "ts": 5, "score": 0.5, "model": model, "role": "primary", "features": features })
}

fn recomputed(key: u64, features: Value) -> Value {
    json!({ "tx_id": key, "ts": 5, "is_fraud": 0, "features": features })
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A value of few, so that two of them are often equal.
    fn value(&mut self) -> Value {
        match self.below(10) {
            0 => Value::Null,
            1 => json!("DE"),
            2 => json!("Infinity"),
            3 => json!(-0.0),
            4 => json!(0.0),
            5 => json!(0.1),
            _ => json!(self.below(4)),
        }
    }

    fn features(&mut self) -> Value {
        let mut features = json!({ "a": self.value(), "b": self.value() });
        if self.below(4) == 0 {
            features["c"] = self.value();
        }
        features
    }
}

/// Counts as a reader of the page would: a dozen lines without samples, files or memory in mind.
fn oracle(left: &[Value], right: &[Value]) -> BTreeMap<(String, String), BTreeMap<&'static str, u64>> {
    let number = |value: &Value| if value == "Infinity" { Some(f64::INFINITY) } else { value.as_f64() };
    let mut all: BTreeMap<_, BTreeMap<&str, u64>> = BTreeMap::new();
    for row in left {
        let Some(other) = right.iter().find(|other| other["tx_id"] == row["tx_id"]) else { continue };
        for feature in ["a", "b", "c"] {
            let (a, b) = (&row["features"][feature], &other["features"][feature]);
            if row["features"].get(feature).is_none() && other["features"].get(feature).is_none() {
                continue;
            }
            let name = match (a.is_null(), b.is_null(), number(a), number(b)) {
                (true, true, ..) => "both_null",
                (true, ..) => "left_null",
                (_, true, ..) => "right_null",
                (.., Some(a), Some(b)) if a.to_bits() == b.to_bits() => "identical",
                (.., Some(a), Some(b)) if a == b => "close",
                (.., None, None) => "identical",
                _ => "mismatch",
            };
            let counts =
                all.entry((row["model"].as_str().expect("a text").to_owned(), feature.to_owned())).or_default();
            for name in ["total", name] {
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    all
}

#[test]
fn counts_are_those_of_a_plain_program() {
    let first = testkit::seed();
    for seed in (0..20 * testkit::times() as u64).map(|more| first.wrapping_add(more)) {
        let (folder, mut random) = (scratch(), Random(seed));
        let count = 50 + random.below(200);
        let mut left: Vec<Value> =
            (0..count).map(|key| served(key, ["m/1", "m/2"][random.below(2) as usize], random.features())).collect();
        let mut right: Vec<Value> = (20..count + 30).map(|key| recomputed(key, random.features())).collect();
        // The order of rows, and how they lie in files, changes nothing.
        for at in 0..right.len() {
            right.swap(at, random.below(count) as usize);
        }
        write(folder.path(), "recomputed/one.jsonl", &right);
        let later = left.split_off(random.below(count) as usize);
        write(folder.path(), "served/part-1.jsonl", &left);
        write(folder.path(), "served/part-2.jsonl", &later);
        left.extend(later);
        let (found, errors) = document(folder.path(), 1, &[]);
        assert_eq!((&found["left_only"], &found["right_only"]), (&json!(20), &json!(30)), "seed {seed}");
        assert_eq!((&found["matched"], &found["agree"]), (&json!(count - 20), &json!(false)), "seed {seed}");
        let mut counted = BTreeMap::new();
        for model in found["models"].as_array().expect("a list") {
            let mut differing = u64::MAX;
            for feature in model["features"].as_array().expect("a list") {
                let names = ["total", "identical", "close", "both_null", "left_null", "right_null", "mismatch"];
                let counts: BTreeMap<&str, u64> =
                    names.into_iter().map(|name| (name, feature[name].as_u64().expect("a count"))).collect();
                assert_eq!(counts["total"] * 2, counts.values().sum::<u64>(), "seed {seed}: the counts add up");
                let worse = counts["left_null"] + counts["right_null"] + counts["mismatch"];
                assert!(worse <= differing, "seed {seed}: the worst come first");
                differing = worse;
                assert_eq!(feature["rows"].as_array().expect("a list").len() as u64, worse.min(3));
                let counts = counts.into_iter().filter(|(_, count)| *count > 0).collect();
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                counted.insert((text(&model["model"]), text(&feature["feature"])), counts);
            }
        }
        assert_eq!(counted, oracle(&left, &right), "seed {seed}: {errors}");
    }
}

#[test]
fn sides_that_agree_end_with_0_and_a_changed_feature_is_named() {
    let folder = scratch();
    let features = |key: u64| json!({ "amount": key as f64 / 7.0, "country": "DE", "age": Value::Null });
    let rows: Vec<Value> = (0..100).map(|key| served(key, "m/1", features(key))).collect();
    write(folder.path(), "served/part-1.jsonl", &rows);
    let mut rows: Vec<Value> = (0..120).map(|key| recomputed(key, features(key))).collect();
    write(folder.path(), "recomputed/part-1.jsonl", &rows);
    // What a sink still writes is hidden, and is not read.
    write_text(folder.path(), "recomputed/.part-2.inprogress", "{");
    let (found, errors) = document(folder.path(), 0, &[]);
    assert_eq!((&found["agree"], &found["right_only"], errors.as_str()), (&json!(true), &json!(20), ""));
    assert!(error(folder.path(), 1, &["--key", "tx_id", "--strict"]).contains("20 recomputed rows were not served"));

    rows[41]["features"]["amount"] = json!((41.0_f64 / 7.0).next_up());
    rows[43]["features"]["amount"] = json!("x");
    rows[44]["features"]["age"] = json!(1);
    write(folder.path(), "recomputed/part-1.jsonl", &rows);
    let (found, errors) = document(folder.path(), 1, &[]);
    assert_eq!(errors, "error: training and serving do not agree: 3 values differ, of age, amount\n");
    let worst = &found["models"][0]["features"][0];
    assert_eq!((&worst["feature"], &worst["mismatch"], &worst["identical"]), (&json!("amount"), &json!(2), &json!(98)));
    assert_eq!(worst["rows"][0]["key"], json!({ "tx_id": "41" }));
    assert_eq!(worst["mismatch_kinds"], json!([{ "left": "number", "right": "text", "count": 1 }]));
    assert!(worst["left_minus_right"]["min"].as_f64().expect("a number") < 0.0);
    let text = String::from_utf8(parity(folder.path(), &["--key", "tx_id"]).stdout).expect("text");
    assert!(text.contains("amount: 2 of 100 rows differ; 1 times number was served, and text recomputed\n"), "{text}");
    assert!(text.contains("  tx_id=43  6.142857142857143  \"x\"\n"), "{text}");
    // The last bit is within a tolerance, a text never is.
    let (found, _) = document(folder.path(), 1, &["--tolerance", "1e-12", "--feature", "amount"]);
    let amount = &found["models"][0]["features"][0];
    assert_eq!((&amount["close"], &amount["mismatch"]), (&json!(1), &json!(1)));
    document(folder.path(), 0, &["--feature", "country"]);
}

#[test]
fn a_shadow_is_a_version_of_its_own_and_a_key_that_comes_again_withholds_the_verdict() {
    let folder = scratch();
    let one = json!({ "a": 1 });
    let mut rows = vec![served(1, "m/1", one.clone()), served(1, "m/2", one.clone()), served(2, "", one.clone())];
    write(folder.path(), "served/part-1.jsonl", &rows);
    write(folder.path(), "recomputed/part-1.jsonl", &[1, 2].map(|key| recomputed(key, one.clone())));
    let (found, _) = document(folder.path(), 0, &[]);
    let models: Vec<&Value> = found["models"].as_array().expect("a list").iter().map(|model| &model["model"]).collect();
    assert_eq!(models, ["-", "m/1", "m/2"]);
    rows.push(served(1, "m/2", one.clone()));
    write(folder.path(), "served/part-1.jsonl", &rows);
    let (found, errors) = document(folder.path(), 4, &[]);
    assert!(
        errors.contains(
            "1 served rows have the key of an earlier one, the first at \"served/part-1.jsonl\", line 4: tx_id=1"
        ),
        "{errors}"
    );
    assert_eq!((&found["served"]["repeated"], &found["agree"]), (&json!(1), &json!(false)));
    write(folder.path(), "recomputed/part-2.jsonl", &[recomputed(2, one)]);
    let (found, errors) = document(folder.path(), 4, &[]);
    assert!(errors.contains("1 recomputed rows have the key"), "{errors}");
    assert_eq!(found["recomputed"]["first_repeated"]["key"], json!({ "tx_id": "2" }));
    assert!(error(folder.path(), 2, &["--key", "tx_id", "--key", "tx_id"]).contains("twice"));
}

#[test]
fn a_sample_has_the_same_keys_on_both_sides_and_in_each_order() {
    let folder = scratch();
    let mut rows: Vec<Value> = (0..2000).map(|key| served(key, "m/1", json!({ "a": key }))).collect();
    write(folder.path(), "served/part-1.jsonl", &rows);
    rows.reverse();
    write(folder.path(), "recomputed/part-1.jsonl", &rows);
    let (found, _) = document(folder.path(), 0, &["--sample", "10%"]);
    let count = found["matched"].as_u64().expect("a count");
    assert!((150..250).contains(&count), "{count}");
    assert_eq!((&found["right_only"], &found["left_only"]), (&json!(0), &json!(0)));
    write(folder.path(), "served/part-1.jsonl", &rows);
    assert_eq!(document(folder.path(), 0, &["--sample", "0.1"]).0["matched"], json!(count));
    let none = error(folder.path(), 2, &["--key", "tx_id", "--sample", "0.0000001%"]);
    assert!(none.contains("none of the 2000 served rows is in the sample"), "{none}");
    assert!(error(folder.path(), 2, &["--key", "tx_id", "--sample", "1"]).contains("1% or 0.01"));
}

#[test]
fn nothing_is_left_out_in_silence() {
    let folder = scratch();
    let (path, key) = (folder.path(), ["--key", "tx_id"]);
    assert!(error(path, 3, &key).contains("cannot read \"served\""));
    let row = |key: u64| served(key, "m/1", json!({ "a": 1, "only_here": 2 }));
    write(path, "served/part-1.jsonl", &[row(1), row(2)]);
    fs::create_dir(path.join("recomputed")).expect("a folder");
    assert!(error(path, 2, &key).contains("the folder \"recomputed\" has no file of .jsonl"));
    write_text(path, "recomputed/a.jsonl", "");
    assert!(error(path, 1, &key).contains("2 served rows were not recomputed"), "an empty file");

    write(
        path,
        "recomputed/a.jsonl",
        &[recomputed(1, json!({ "a": 1 })), recomputed(2, json!({ "a": 1, "there": 1 }))],
    );
    let (found, errors) = document(path, 4, &[]);
    assert!(errors.contains("only served: only_here; only recomputed: there; both sides have a"), "{errors}");
    assert_eq!((&found["only_served"], &found["only_recomputed"]), (&json!(["only_here"]), &json!(["there"])));
    document(path, 0, &["--feature", "a"]);
    assert!(error(path, 2, &["--key", "tx_id", "--feature", "b"]).contains("neither side has the feature \"b\""));

    for (text, said) in [
        (
            "{\"tx_id\":1,\"features\":{\"a\":1}}\n{\"tx_id\":2,\"fea",
            "\"recomputed/a.jsonl\", line 2: the last line is not complete",
        ),
        ("{\"tx_id\":1,\"features\":{\"a\":1}}\n\nx\n", "\"recomputed/a.jsonl\", line 3: column 1: expected value"),
        (
            "{\"ts\":1,\"features\":{\"a\":1}}\n",
            "line 1: it has no \"tx_id\", which is part of the key; it has features, ts",
        ),
        ("{\"tx_id\":1,\"ts\":4}\n", "line 1: it has no \"features\"; it has ts, tx_id"),
        ("{\"tx_id\":1,\"features\":null}\n", "expected \"features\" to be an object"),
    ] {
        write_text(path, "recomputed/a.jsonl", text);
        let errors = error(path, 4, &key);
        assert!(errors.contains(said), "{errors}");
    }
    write(path, "recomputed/a.jsonl", &[recomputed(1, json!({ "a": 1 }))]);
    write_text(path, "recomputed/notes.txt", "");
    assert!(error(path, 2, &key).contains("\"recomputed/notes.txt\" is not read"));
    fs::remove_file(path.join("recomputed/notes.txt")).expect("it was there");
    fs::write(path.join("recomputed/b.jsonl.gz"), [0x1f, 0x8b, 8, 0]).expect("it is written");
    assert!(error(path, 4, &key).contains("\"recomputed/b.jsonl.gz\", line 1: cannot be read"));
}

/// Parquet gives what JSON lines give: features in a struct, or in columns beside others, as in a training set.
#[cfg(feature = "parquet")]
mod of_parquet {
    use std::sync::Arc;

    use arrow_array::{
        Array, ArrayRef, DictionaryArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        StructArray, TimestampMicrosecondArray, types::Int8Type, types::Int32Type,
    };
    use arrow_schema::{DataType, Field};

    use super::*;

    fn write_parquet(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, of)| (name, of, true)));
        let batch = batch.expect("columns");
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let file = fs::File::create(path).expect("a file");
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.close().expect("it is written");
    }

    fn features() -> Vec<(&'static str, ArrayRef)> {
        let country: DictionaryArray<Int8Type> = [Some("DE"), None, Some("FR")].into_iter().collect();
        vec![
            ("amount", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), Some(f64::INFINITY)]))),
            ("half", Arc::new(Float32Array::from(vec![Some(0.5), Some(-0.0), None]))),
            ("count", Arc::new(Int64Array::from(vec![1, 2, 9_007_199_254_740_993]))),
            ("country", Arc::new(country)),
        ]
    }

    fn keys() -> (&'static str, ArrayRef) {
        ("tx_id", Arc::new(Int64Array::from(vec![1, 2, 3])))
    }

    #[test]
    fn parquet_is_compared_with_json_lines() {
        let folder = scratch();
        let rows = [
            json!({ "amount": 0.1, "half": 0.5, "count": 1.0, "country": "DE" }),
            json!({ "amount": null, "half": -0.0, "count": 2, "country": null }),
            json!({ "amount": "Infinity", "half": null, "count": 9_007_199_254_740_993_u64, "country": "FR" }),
        ];
        let rows: Vec<Value> = (1..).zip(rows).map(|(key, features)| served(key, "m/1", features)).collect();
        write(folder.path(), "served/part-1.jsonl", &rows);
        // A training set has columns that are no features: of its types, even of those that are not compared.
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([None::<Vec<Option<i32>>>, None, None]);
        let other: [(&str, ArrayRef); 2] =
            [("is_fraud", Arc::new(Int64Array::from(vec![0; 3]))), ("list", Arc::new(list))];
        let flat = [vec![keys()], features(), other.to_vec()].concat();
        write_parquet(folder.path(), "recomputed/a.parquet", flat.clone());
        let (found, _) = document(folder.path(), 0, &[]);
        assert_eq!((&found["matched"], &found["models"][0]["features"][3]["total"]), (&json!(3), &json!(3)));

        let fields =
            features().into_iter().map(|(name, of)| (Arc::new(Field::new(name, of.data_type().clone(), true)), of));
        let nested: ArrayRef = Arc::new(StructArray::from(fields.collect::<Vec<_>>()));
        let model: ArrayRef = Arc::new(StringArray::from(vec!["m/1", "m/1", "m/2"]));
        fs::remove_dir_all(folder.path().join("served")).expect("it was there");
        let with_model = vec![keys(), ("features", Arc::clone(&nested)), ("model", model)];
        write_parquet(folder.path(), "served/a.parquet", with_model);
        let (found, _) = document(folder.path(), 0, &[]);
        assert_eq!(found["models"][1]["matched"], json!(1));

        // Both without a field of features: which columns are features has to be said.
        write_parquet(folder.path(), "served/a.parquet", flat);
        let errors = document(folder.path(), 2, &[]).1;
        assert!(
            errors.contains("name them with --feature NAME; both have is_fraud, amount")
                || errors.contains("both have amount"),
            "{errors}"
        );
        document(folder.path(), 0, &["--feature", "amount", "--feature", "country"]);
        let errors = document(folder.path(), 4, &["--feature", "list"]).1;
        assert!(errors.contains("its column \"list\" is List") && errors.contains("only numbers"), "{errors}");
    }

    #[test]
    fn times_are_milliseconds_and_keys_are_never_null() {
        let folder = scratch();
        let row = |ts: i64| json!({ "ts": ts, "features": { "amount": 1.5 } });
        write(folder.path(), "served/a.jsonl", &[row(1_767_484_806_039), row(1_767_484_806_040)]);
        let times =
            TimestampMicrosecondArray::from(vec![1_767_484_806_039_000, 1_767_484_806_040_000]).with_timezone("UTC");
        let amounts: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 1.5]));
        let columns = vec![("ts", Arc::new(times) as ArrayRef), ("amount", amounts)];
        write_parquet(folder.path(), "recomputed/a.parquet", columns);
        assert_eq!(error(folder.path(), 0, &["--key", "ts"]), "");
        let missing = error(folder.path(), 4, &["--key", "tx_id"]);
        assert!(missing.contains("\"served/a.jsonl\", line 1: it has no \"tx_id\""), "{missing}");

        let folder = scratch();
        write(folder.path(), "served/a.jsonl", &[served(1, "m", json!({ "amount": 1 }))]);
        let columns = |key: Option<i64>, parent: bool| {
            let field = Arc::new(Field::new("amount", DataType::Float64, true));
            let amounts: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
            let nested = StructArray::new(vec![field].into(), vec![amounts], Some(vec![parent].into()));
            vec![
                ("tx_id", Arc::new(Int64Array::from(vec![key])) as ArrayRef),
                ("features", Arc::new(nested) as ArrayRef),
            ]
        };
        write_parquet(folder.path(), "recomputed/a.parquet", columns(Some(1), true));
        document(folder.path(), 0, &[]);
        write_parquet(folder.path(), "recomputed/a.parquet", columns(None, true));
        assert!(document(folder.path(), 4, &[]).1.contains("row 1: its \"tx_id\" is null, and it is part of the key"));
        write_parquet(folder.path(), "recomputed/a.parquet", columns(Some(1), false));
        assert!(document(folder.path(), 4, &[]).1.contains("row 1: its \"features\" is null"));
        fs::write(folder.path().join("recomputed/a.parquet"), "PAR1").expect("it is written");
        assert!(document(folder.path(), 4, &[]).1.contains("\"recomputed/a.parquet\" is not whole Parquet"));
    }
}

/// The features that `fraud_velocity` served on real transactions are those that it computes again from history; with a window
/// that is off by one, its feature is named.
#[test]
fn real_features_are_recomputed_as_they_were_served() {
    let Some(input) = testkit::data("transactions.csv.gz") else { return };
    let scratch = scratch();
    let folder = scratch.path();
    for (name, flag, workers) in [("served", "--predictions", "2"), ("recomputed", "--features", "1")] {
        let mut command = testkit::example("fraud_velocity");
        command.args(["--workers", workers, flag]).arg(folder.join(name)).arg("--input").arg(&input);
        testkit::finish(&mut command);
    }
    let (found, _) = document(folder, 0, &[]);
    assert_eq!((&found["matched"], &found["left_only"], &found["right_only"]), (&json!(940_312), &json!(0), &json!(0)));
    let features = found["models"][0]["features"].as_array().expect("features");
    assert!(features.len() == 18 && features.iter().all(|one| one["identical"] == 940_312), "{features:?}");
    // As if (t - 1d, t) had been computed where (t - 1d, t] was served.
    for part in fs::read_dir(folder.join("recomputed")).expect("parts").map(|part| part.expect("a part").path()) {
        let text = fs::read_to_string(&part).expect("lines");
        let broken: Vec<String> = text
            .lines()
            .map(|line| {
                let mut row: Value = serde_json::from_str(line).expect("a line");
                let count = row["features"]["card_count_1d"].as_f64().expect("a count");
                row["features"]["card_count_1d"] = json!(count - 1.0);
                format!("{row}\n")
            })
            .collect();
        fs::write(&part, broken.concat()).expect("it is written");
    }
    let (found, _) = document(folder, 1, &["--sample", "1%"]);
    let features = found["models"][0]["features"].as_array().expect("features");
    let differ: Vec<&Value> = features.iter().filter(|one| one["mismatch"] != 0).collect();
    let [count] = *differ else { panic!("{differ:?}") };
    assert_eq!((&count["feature"], &count["mismatch"]), (&json!("card_count_1d"), &count["total"]));
    assert!((9_000..10_000).contains(&count["total"].as_u64().expect("a count")), "{count}");
}
