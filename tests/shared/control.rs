//! What the control log of a checkpoint says of the models that score.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidemill::control::{ChangeEvent, ControlEntry};
use tidemill::infer::ModelRole;

/// Writes the versions 1 to 3 of the shipped model of `fraud_velocity` to a model repository.
pub fn three_versions(repository: &Path) {
    let model = testkit::project().join("models/fraud_velocity.onnx");
    (1..=3).for_each(|version| testkit::publish_version(repository, "fraud_velocity", version, &model).unwrap());
}

/// Writes a control file with these changes of the operator `score`.
pub fn control_file(path: &Path, changes: &[Value]) {
    let line = |(id, change): (usize, &Value)| {
        json!({ "id": id.to_string(), "operator": "score", "change": change, "by": "a test" }).to_string() + "\n"
    };
    fs::write(path, changes.iter().enumerate().map(line).collect::<String>()).unwrap();
}

/// Returns the control log of the newest checkpoint in a directory.
pub fn newest_log(checkpoints: &Path) -> Vec<ControlEntry> {
    let manifests = fs::read_dir(checkpoints.join("manifests")).unwrap().map(|entry| entry.unwrap().path());
    let newest = manifests.filter(|path| path.extension().is_some_and(|ext| ext == "json")).max().unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(newest).unwrap()).unwrap();
    serde_json::from_value(manifest["control"].clone()).unwrap()
}

/// Checks that each prediction of `fraud_velocity` was made by the version that the log says for its epoch, its event time
/// and its card, and that each transaction has one. Returns the number of predictions by version, from 0 to 3, where 0 is the
/// model that the program was started with, which is `first`.
pub fn check_predictions(folder: &Path, log: &[ControlEntry], first: u64, count: u64) -> [u64; 4] {
    let mut by_version = [0; 4];
    let mut seen = vec![false; count as usize];
    for part in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = part.file_name().unwrap().to_string_lossy().into_owned();
        let Some(epoch) = name.strip_prefix("part-e").and_then(|rest| rest.split('-').next()) else { continue };
        let epoch: u64 = epoch.parse().unwrap();
        for line in fs::read_to_string(&part).unwrap().lines() {
            let prediction: Value = serde_json::from_str(line).unwrap();
            let card = prediction["card_id"].to_string();
            let (version, role) = scored_by(log, epoch, prediction["ts"].as_i64().unwrap(), &card);
            let found = prediction["model"].as_str().unwrap();
            let wanted = format!("fraud_velocity/{}@", if version == 0 { first } else { version });
            assert!(found.starts_with(&wanted), "{name}: {line}: {wanted} by {log:?}");
            assert_eq!(prediction["role"], serde_json::to_value(role).unwrap(), "{name}: {line}");
            by_version[version as usize] += 1;
            let seen = &mut seen[prediction["tx_id"].as_u64().unwrap() as usize];
            assert!(!std::mem::replace(seen, true), "twice: {line}");
        }
    }
    assert!(seen.iter().all(|seen| *seen), "a transaction has no prediction");
    by_version
}

/// Checks that each change of the log was written as an event, once and in order; the last ones may be missing, to which no
/// record was subject.
pub fn check_events(folder: &Path, log: &[ControlEntry]) {
    let lines = testkit::lines(folder);
    let events: Vec<ChangeEvent> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut made, refused): (Vec<ChangeEvent>, Vec<ChangeEvent>) =
        events.into_iter().partition(|event| event.epoch.is_some());
    made.sort_by_key(|event| log.iter().position(|entry| entry.id == event.id));
    assert!(made.iter().cloned().eq(log.iter().take(made.len()).cloned().map(ChangeEvent::from)), "{made:?}, {log:?}");
    let last = log.last().and_then(|entry| entry.epoch);
    assert!(log[made.len()..].iter().all(|entry| entry.epoch == last), "{} of {log:?}", made.len());
    assert!(!refused.is_empty() && refused.iter().all(|event| event.error.is_some()), "{refused:?}");
}

/// Returns the version and the role that the log says for a record, computed in another way than the operator does: from the
/// first change to the last one of the record's epoch. The program's own model is version 0.
pub fn scored_by(log: &[ControlEntry], epoch: u64, event_time: i64, key: &str) -> (u64, ModelRole) {
    let version = |model: &Value| model["version"].as_u64().unwrap_or(0);
    let (mut primaries, mut canary) = (vec![(i64::MIN, 0)], None);
    for ControlEntry { epoch: from, change, .. } in log {
        if from.is_none_or(|from| from > epoch) {
            continue;
        }
        if let Some(switch) = change.get("switch") {
            let to = version(&switch["model"]);
            match switch.get("from_event_time").and_then(Value::as_i64) {
                Some(from) => {
                    primaries.retain(|(known, _)| *known != from);
                    primaries.push((from, to));
                    primaries.sort_unstable();
                }
                None => {
                    primaries = vec![(i64::MIN, to)];
                    canary = canary.filter(|(tried, _)| *tried != to);
                }
            }
        } else if let Some(start) = change.get("canary") {
            canary = Some((version(&start["model"]), (start["buckets"].as_u64().unwrap(), start["seed"].clone())));
        } else if change.get("end") == Some(&json!("canary")) {
            canary = None;
        }
    }
    let primary = primaries.iter().rev().find(|(from, _)| *from <= event_time).unwrap().1;
    let Some((tried, (share, seed))) = canary else { return (primary, ModelRole::Primary) };
    let bucket = growthbook(seed.as_str().unwrap(), key);
    match bucket {
        _ if bucket < share => (tried, ModelRole::Canary),
        _ if bucket < 2 * share => (primary, ModelRole::Baseline),
        _ => (primary, ModelRole::Primary),
    }
}

/// GrowthBook's hash, version 2, as its documentation has it.
fn growthbook(seed: &str, key: &str) -> u64 {
    let fnv = |text: String| text.bytes().fold(2_166_136_261_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(16_777_619));
    u64::from(fnv(fnv(format!("{seed}{key}")).to_string()) % 10_000)
}
