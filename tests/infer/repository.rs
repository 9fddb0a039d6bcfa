//! Versions of a model in a folder, and the gates through which one is loaded.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidemill::infer::{ModelError, ModelRepository, SessionSettings};
use tidemill::prelude::*;

use crate::fake::settings;
use crate::onnx::{Pair, file, run_once, score_all};

fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A repository in a folder of its own.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn version(&self, version: u64) -> std::path::PathBuf {
        self.0.path().join(format!("pairs/{version}"))
    }

    /// Copies a model; `model.json` is still missing.
    fn copy(&self, version: u64, model: &str) {
        fs::create_dir_all(self.version(version)).unwrap();
        fs::copy(file(model), self.version(version).join("model.onnx")).unwrap();
    }

    fn write(&self, version: u64, name: &str, text: &str) {
        fs::write(self.version(version).join(name), text).unwrap();
    }

    fn complete(&self, version: u64) {
        let sha256 = sha256(&self.version(version).join("model.onnx"));
        let manifest = format!(
            r#"{{"name": "pairs", "version": {version}, "sha256": "{sha256}", "created": "2026-11-29T08:00:00Z", "metrics": {{"auc": 0.9}}}}"#
        );
        self.write(version, "model.json", &manifest);
    }

    fn load(&self, wanted: &str) -> Result<Model, ModelError> {
        let repository = ModelRepository::folder(self.0.path());
        repository.find(&wanted.parse().unwrap())?.load::<Pair>("score", 0, &SessionSettings::default())
    }

    fn refusal(&self, wanted: &str) -> String {
        tidemill::error::with_causes(&self.load(wanted).unwrap_err())
    }
}

#[test]
fn a_version_is_found_by_number_by_alias_or_as_the_latest_complete_one() {
    let repository = Repository::new();
    for (version, model) in [(2, "first.onnx"), (9, "tree.onnx"), (10, "log.onnx"), (11, "first.onnx")] {
        repository.copy(version, model);
        repository.complete(version);
    }
    // Still being copied, and what is no version.
    repository.copy(12, "first.onnx");
    fs::remove_file(repository.version(11).join("model.json")).unwrap();
    for other in [".ipynb_checkpoints", "03", "0", "latest"] {
        fs::create_dir_all(repository.0.path().join("pairs").join(other)).unwrap();
    }
    fs::write(repository.0.path().join("pairs/aliases.json"), r#"{"champion": 9, "gone": 4}"#).unwrap();
    assert_eq!(ModelRepository::folder(repository.0.path()).versions("pairs").unwrap(), [2, 9, 10]);
    for (wanted, version) in [("pairs", 10), ("pairs/2", 2), ("pairs@champion", 9)] {
        let model = repository.load(wanted).unwrap();
        assert_eq!((model.info().name.as_str(), model.info().version), ("pairs", Some(version)));
        let hash = sha256(&repository.version(version).join("model.onnx"));
        assert_eq!(model.info().to_string(), format!("pairs/{version}@{}", &hash[..16]));
    }
    for (wanted, said) in [
        ("pairs/11", "version 11 is not there; the complete ones, with a model.json, are: 2, 9, 10"),
        ("pairs@gone", "version 4 is not there"),
        ("pairs@challenger", "has no alias \"challenger\"; it has: champion, gone"),
        ("others", "cannot read the model"),
    ] {
        let refusal = repository.refusal(wanted);
        assert!(refusal.contains(said), "{wanted}: {refusal}");
    }
}

#[test]
fn a_version_that_is_not_what_it_says_is_refused() {
    let repository = Repository::new();
    let refused = |said: &str| {
        let refusal = repository.refusal("pairs/1");
        assert!(refusal.contains(said), "{said}: {refusal}");
    };
    repository.copy(1, "tree.onnx");
    repository.complete(1);
    repository.load("pairs/1").unwrap();

    // Half of a file, one flipped bit, another model.
    let path = repository.version(1).join("model.onnx");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused("its SHA-256 is");
    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 1;
    fs::write(&path, flipped).unwrap();
    refused("not all of it was copied");
    fs::remove_file(&path).unwrap();
    refused("cannot read the model");
    fs::write(&path, &whole).unwrap();

    let hash = sha256(&path);
    for (manifest, said) in [
        (r#"{"name": "pairs", "version": 1"#.to_owned(), "it cannot be read"),
        (format!(r#"{{"name": "others", "version": 1, "sha256": "{hash}"}}"#), "it is of others/1"),
        (format!(r#"{{"name": "pairs", "version": 2, "sha256": "{hash}"}}"#), "lies in the folder of pairs/1"),
        (r#"{"name": "pairs", "version": 1, "sha256": "e3b0"}"#.to_owned(), "is no SHA-256"),
        (
            format!(r#"{{"name": "pairs", "version": 1, "sha256": "{hash}", "file": "../../x"}}"#),
            "not the name of a file",
        ),
        (r#"{"name": "pairs", "version": 1}"#.to_owned(), "missing field `sha256`"),
    ] {
        repository.write(1, "model.json", &manifest);
        refused(said);
    }
}

#[test]
fn golden_rows_have_the_scores_that_are_stated() {
    let repository = Repository::new();
    repository.copy(1, "tree.onnx");
    repository.complete(1);
    let golden = |text: &str| repository.write(1, "golden.jsonl", text);
    golden(
        "{\"features\": {\"b\": 7, \"a\": 0.25}, \"score\": 0.25}\n\n{\"features\": [0.75, null], \"score\": 0.7500004}\n\
         {\"features\": {\"a\": null, \"b\": 1e3}, \"score\": 0.25}\n",
    );
    let model = repository.load("pairs").unwrap();
    // The model scores as before: its session, or its trees, are still there.
    assert_eq!(run_once(&model, &[0.25, 0.0, 0.75, 0.0]), Ok(vec![0.25, 0.75]));
    for (text, said) in [
        (
            "{\"features\": [1, 1], \"score\": 0.75}\n{\"features\": [0, 1], \"score\": 0.75}",
            "1 of 2 rows have other scores; line 2: the score is 0.25, and is stated as 0.75, for a=0, b=1",
        ),
        ("{\"features\": [0.75, 1], \"score\": 0.7500020}", "1 of 1 rows"),
        ("{\"features\": [1], \"score\": 0.75}", "line 1: it has 1 values, the program has 2 features: a, b"),
        ("{\"features\": {\"a\": 1}, \"score\": 0.75}", "line 1: it lacks the feature b"),
        ("{\"features\": {\"a\": 1, \"b\": 1, \"c\": 1}, \"score\": 1}", "\"c\" is no feature of the program: a, b"),
        ("{\"features\": [1e39, 1], \"score\": 0.75}", "feature a"),
        ("\n{\"score\": 0.75}", "line 2: missing field `features`"),
        ("", "it has no rows"),
    ] {
        golden(text);
        let refusal = repository.refusal("pairs");
        assert!(refusal.contains(said) && refusal.contains("golden.jsonl"), "{said}: {refusal}");
    }
    // More rows than one run has, and a model that takes four at a time.
    repository.copy(2, "rows_4.onnx");
    repository.complete(2);
    let lines: Vec<String> = (0..150).map(|a| format!("{{\"features\": [{a}, 1], \"score\": {}}}", a + 1)).collect();
    repository.write(2, "golden.jsonl", &lines.join("\n"));
    repository.load("pairs/2").unwrap();
    repository.write(2, "golden.jsonl", &lines.join("\n").replace("\"score\": 150", "\"score\": 151"));
    let refusal = repository.refusal("pairs/2");
    assert!(refusal.contains("1 of 150 rows have other scores; line 150"), "{refusal}");
}

#[test]
fn weights_beside_a_version_have_a_hash_each() {
    let repository = Repository::new();
    repository.copy(1, "weights/weights.onnx");
    fs::create_dir_all(repository.version(1).join("parts")).unwrap();
    let weights = ["weights.data", "parts/branches.data"];
    for part in weights {
        fs::copy(file("weights").join(part), repository.version(1).join(part)).unwrap();
    }
    repository.complete(1);
    let refusal = repository.refusal("pairs");
    assert!(refusal.contains("states no hash of these weights"), "{refusal}");
    let hash = |name: &str| sha256(&repository.version(1).join(name));
    let [first, second] = weights.map(|part| format!(r#""{part}": "{}""#, hash(part)));
    let model = hash("model.onnx");
    let manifest = format!(r#"{{"name": "pairs", "version": 1, "sha256": "{model}", "files": {{{first}, {second}}}}}"#);
    repository.write(1, "model.json", &manifest);
    let model = repository.load("pairs").unwrap();
    assert_eq!(score_all(&[[1.0, 1.0]], &model, &settings(8, None)).0, [(0, 27.0)]);
    let path = repository.version(1).join(weights[1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[2] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    let refusal = repository.refusal("pairs");
    assert!(refusal.contains("branches.data") && refusal.contains("its SHA-256 is"), "{refusal}");
}
