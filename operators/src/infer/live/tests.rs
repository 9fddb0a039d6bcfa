//! A log that is followed after a restart comes to the same as the changes that were made one after the other.

use std::num::NonZeroU64;

use proptest::prelude::*;
use serde_json::json;

use super::route::Assigned;
use super::*;
use crate::infer::backend::{Backend, ModelInfo, RunError};
use crate::infer::element::{ElementType, Elements};
use crate::infer::error::ModelError;
use crate::infer::tensor::{Tensor, TensorSpec};
use crate::infer::wanted::{ModelRef, VersionChoice};

#[derive(Clone)]
struct Constant {
    info: ModelInfo,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

impl Constant {
    fn new(name: &str) -> Self {
        let spec = |name| vec![TensorSpec::fixed(name, ElementType::F32, [1])];
        Self { info: ModelInfo::new(name, "0"), inputs: spec("in"), outputs: spec("out") }
    }
}

impl ModelSource for Constant {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        Ok(Box::new(self.clone()))
    }
}

impl Backend for Constant {
    fn run(&mut self, rows: usize, _: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        outputs[0].elements = Elements::F32(vec![0.5; rows]);
        Ok(())
    }
}

/// Versions of which those that are gone can be resolved no more, and not loaded.
struct Versions;

impl VersionSource for Versions {
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError> {
        let version = match wanted.version {
            VersionChoice::Number(number) => number,
            _ => NonZeroU64::MIN,
        };
        Ok(VersionId { name: wanted.name.clone(), version, sha256: version.to_string() })
    }

    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        Ok(Arc::new(Constant::new(&id.to_string())))
    }
}

fn live() -> Live {
    Live::new(Fixed {
        models: Models::of(Constant::new("program")),
        source: Arc::new(Versions),
        exact_rows: None,
        max_rows: 4,
        has_keys: true,
        has_threads: false,
        ladders: 1,
        kept: None,
        retained: 3,
    })
}

/// Makes a change as the engine does, if it can be made.
fn change(live: &Live, log: &mut Vec<ControlEntry>, epoch: u64, wish: &Value) {
    let id = log.len().to_string();
    let Ok(change) = live.resolve(wish) else { return };
    live.prepare(&id, &change).unwrap();
    let text = String::new;
    let entry =
        ControlEntry { id, epoch: Some(epoch), operator: text(), change, by: text(), reason: text(), asked_ms: 0 };
    live.apply(&entry);
    log.push(entry);
}

/// What is in effect from an epoch on, by names.
fn shown_from(live: &Live, first: u64) -> Vec<String> {
    let mut state = lock(&live.state);
    state.pass(first);
    let mut shown: Vec<String> = state
        .routes
        .iter()
        .map(|(epoch, route)| {
            let by = |bucket: u32| -> Vec<String> {
                let at = |time: i64| {
                    let Assigned { version, role } = route.assign(EventTime(time), |_| bucket);
                    format!("{:?} {role:?} {}", state.which(version), route.info(version).unwrap())
                };
                [-1, 50, 150, 250, 350].into_iter().map(at).collect()
            };
            let shadow = route.shadow.as_ref().map(|shadow| (state.which(shadow.version.index), shadow.buckets));
            format!("{} {:?} {:?} {:?} {shadow:?}", epoch.max(&first), by(0), by(1_500), by(9_999))
        })
        .collect();
    let rollout = state.rollout.as_ref().map(|running| (&running.id, state.which(running.version), running.suspended));
    shown.push(format!("{rollout:?} {:?} {}", state.before, state.step_since));
    shown
}

fn wish() -> impl Strategy<Value = Value> {
    let model = (1..5_u64).prop_map(|version| format!("m/{version}"));
    (0..10_u32, model, 0..400_i64, 1..5_u32).prop_map(|(kind, model, at, tenths)| match kind {
        0 | 1 => json!({ "switch": { "model": model } }),
        2 => json!({ "switch": { "model": model, "from_event_time": at } }),
        3 | 4 => json!({ "canary": { "model": model, "share": f64::from(tenths) / 10.0 } }),
        5 => json!({ "shadow": { "model": model } }),
        6 => json!({ "rollout": { "model": model } }),
        7 => json!({ "suspend": tenths % 2 == 0 }),
        8 => json!({ "roll_back": {} }),
        _ => json!({ "end": if tenths < 3 { "canary" } else { "shadow" } }),
    })
}

proptest! {
    #[test]
    fn a_log_that_is_followed_comes_to_the_same(wishes in prop::collection::vec((wish(), 0..3_u64), 1..14), back in 0..4_u64) {
        let (made, mut log, mut epoch) = (live(), Vec::new(), 1);
        for (wish, later) in wishes {
            epoch += later;
            change(&made, &mut log, epoch, &wish);
        }
        // The first epoch after a restart may come before the last changes of the log.
        let first = epoch.saturating_sub(back).max(1);
        let followed = live();
        followed.restore(Epoch(first), &log).unwrap();
        prop_assert_eq!(shown_from(&followed, first), shown_from(&made, first), "{:?}", log);
        let state = lock(&followed.state);
        let unloaded = state.used().into_iter().filter(|index| state.source(*index).is_none());
        prop_assert_eq!(unloaded.count(), 0, "what is used is loaded");
        let loaded = state.versions.iter().flatten().count();
        prop_assert!(loaded <= state.used().len() + 1, "and nothing else but the program's own model");
    }
}

/// Two processes have a canary; the checkpoint of epoch 4 is restored by two others.
#[test]
fn a_restart_goes_on_with_what_was_seen_of_a_step() {
    let settings = json!({ "shadow_records": 0, "steps": [0.1], "interval": "1s", "min_records": 20 });
    let (made, mut log) = (live(), Vec::new());
    change(&made, &mut log, 1, &json!({ "rollout": { "model": "m/2", "settings": settings } }));
    change(&made, &mut log, 3, &json!({ "canary": { "model": "m/2", "share": 0.1 } }));
    let other = live();
    other.restore(Epoch(1), &log).unwrap();
    let places = [(1, ModelRole::Canary), (0, ModelRole::Baseline)].map(|(version, role)| Assigned { version, role });
    let score = |live: &Live, epoch: u64, keys: std::ops::Range<u32>| {
        let mut tally = Tally::default();
        for (at, key) in places.into_iter().flat_map(|at| keys.clone().map(move |key| (at, key))) {
            tally.scored(at, Some(f64::from(key % 8) / 8.0), std::time::Duration::from_millis(1));
            tally.key(at, key);
        }
        live.add(Epoch(epoch), &tally);
        live.saw(EventTime(i64::from(keys.end)));
    };
    score(&made, 3, 0..6);
    score(&other, 4, 6..14);
    // The window begins with what was seen so far.
    assert_eq!(made.decide(&[made.report().unwrap(), other.report().unwrap()]), None);
    score(&made, 4, 14..19);
    score(&made, 5, 19..30);
    let seen = [made.seen(Epoch(4)).unwrap(), other.seen(Epoch(4)).unwrap()];
    let [leads, follows] = [true, false].map(|leads| {
        let live = live();
        live.restore(Epoch(5), &log).unwrap();
        live.resume(&seen, leads);
        live
    });
    let records = |live: &Live| {
        let status = live.status();
        let of = |which: &str| {
            status[which].as_array().unwrap().iter().map(|one| one["records"].clone()).collect::<Vec<_>>()
        };
        (of("roles"), of("roles_of_step"), status["roles"][1]["keys"].clone())
    };
    assert_eq!(
        records(&leads),
        (vec![json!(19), json!(19)], vec![json!(19), json!(19)], json!(30)),
        "keys count again"
    );
    assert_eq!(records(&follows), (vec![], vec![], Value::Null), "everything counts once");
    let reports = |more: &Live| [leads.report().unwrap(), more.report().unwrap()];
    score(&leads, 5, 19..33);
    score(&follows, 5, 33..34);
    // The window began at 14, before the restart, and has a second.
    follows.saw(EventTime(1_013));
    assert_eq!(leads.decide(&reports(&follows)), None);
    follows.saw(EventTime(1_014));
    let decision = leads.decide(&reports(&follows)).unwrap();
    assert!(decision.reason.contains("m/2 is promoted: 34 records against 34"), "{}", decision.reason);
}

#[test]
fn what_was_seen_of_another_step_or_cannot_be_read_does_not_count() {
    let (made, mut log) = (live(), Vec::new());
    change(&made, &mut log, 3, &json!({ "canary": { "model": "m/2", "share": 0.1 } }));
    let mut tally = Tally::default();
    tally.failed(Assigned { version: 1, role: ModelRole::Canary });
    made.add(Epoch(3), &tally);
    let seen = made.seen(Epoch(3)).unwrap();
    change(&made, &mut log, 4, &json!({ "canary": { "model": "m/2", "share": 0.2 } }));
    let restored = live();
    restored.restore(Epoch(4), &log).unwrap();
    restored.resume(&[b"?".to_vec(), seen], true);
    let status = restored.status();
    assert_eq!((&status["roles"][0]["failed"], status["roles_of_step"].as_array().unwrap().len()), (&json!(1), 0));
    change(&made, &mut log, 5, &json!({ "end": "canary" }));
    assert_eq!(made.seen(Epoch(5)), None);
}

#[test]
fn a_change_that_is_given_up_while_it_is_loaded_leaves_nothing() {
    let live = live();
    let change = live.resolve(&json!({ "switch": { "model": "m/2" } })).unwrap();
    live.prepare("a", &change).unwrap();
    assert_eq!(lock(&live.state).versions.iter().flatten().count(), 2);
    live.forget("a");
    let state = lock(&live.state);
    assert_eq!(state.versions.iter().flatten().count(), 1);
    assert!(state.ready.is_empty() && state.wanted.is_empty() && state.prepared.is_empty());
}

#[test]
fn a_decision_that_was_not_made_here_is_refused() {
    let (live, mut log) = (live(), Vec::new());
    change(&live, &mut log, 1, &json!({ "rollout": { "model": "m/2" } }));
    let forged = json!({ "shadow": { "model": { "name": "../../x", "version": 1, "sha256": "x" }, "buckets": 4_294_967_295_u32 } });
    let error = live.resolve(&json!({ "decided": { "rollout": "0", "change": forged } })).unwrap_err();
    assert!(error.contains("has not decided this"), "{error}");
    let report = live.report().unwrap();
    let Decision { change: decided, .. } = live.decide(&[report]).unwrap();
    live.resolve(&decided).unwrap();
    change(&live, &mut log, 2, &json!({ "suspend": true }));
    assert!(live.resolve(&decided).unwrap_err().contains("was suspended"), "it is suspended meanwhile");
}

#[test]
fn a_roll_back_goes_to_the_version_before_the_last_switch() {
    let back = |wishes: &[Value]| {
        let (live, mut log) = (live(), Vec::new());
        wishes.iter().for_each(|wish| change(&live, &mut log, 1, wish));
        live.resolve(&json!({ "roll_back": {} })).map(|change| change["switch"]["model"]["version"].clone())
    };
    let at_once = |version: u64| json!({ "switch": { "model": format!("m/{version}") } });
    let from = |version: u64| json!({ "switch": { "model": format!("m/{version}"), "from_event_time": 1000 } });
    assert_eq!(back(&[at_once(2), at_once(3)]), Ok(2.into()));
    assert_eq!(back(&[at_once(2), from(3)]), Ok(2.into()));
    assert_eq!(back(&[from(2)]), Ok(Value::Null), "to the program's own");
    assert!(back(&[from(2), at_once(3)]).unwrap_err().contains("took turns"));
    assert!(back(&[]).unwrap_err().contains("no version before"));
}
