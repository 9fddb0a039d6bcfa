//! Versions that change while the job runs: which one scores a record follows from the control log in the checkpoint, the
//! record's epoch, its event time and its key.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::control::scored_by;
use tidemill::control::{ChangeEvent, ChangeRequest, ControlEntry};
use tidemill::infer::{
    ModelError, ModelRef, ModelRepository, ModelRole, ModelSource, SessionSettings, Simulated, VersionChoice,
    VersionId, VersionSource,
};
use tidemill::job::JobSetup;
use tidemill::prelude::*;
use tidemill::testing::{Outside, Simulation};
use tidemill::time::Epoch;

use crate::fake::{Act, Fake, Item, item, settings, threads};
use crate::onnx::{Pair, file};

/// Versions whose scores are twice the id, plus the number of the version. There are five, and the latest is the third.
#[derive(Clone)]
pub struct Numbered {
    pub outside: Option<Outside>,
}

impl VersionSource for Numbered {
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError> {
        let number = match wanted.version {
            VersionChoice::Number(number) if number.get() <= 5 => number.get(),
            VersionChoice::Latest => 3,
            _ => {
                let reason = "there are the versions 1 to 5".to_owned();
                return Err(ModelError::Unusable { model: wanted.to_string(), reason });
            }
        };
        let version = NonZeroU64::new(number).unwrap();
        Ok(VersionId { name: wanted.name.clone(), version, sha256: format!("{number:064}") })
    }

    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        let fake = Fake::new(&format!("v{}", id.version), id.version.get() as f32, &[Act::Poison]);
        Ok(match &self.outside {
            Some(outside) => Arc::new(Simulated::new(fake, outside.clone())),
            None => Arc::new(fake),
        })
    }
}

#[derive(Default)]
struct Seen {
    /// Changes that were asked for and made.
    made: AtomicU64,
    /// Changes that a rollout has decided on.
    decided: AtomicU64,
    /// Changes that were asked for and not made.
    refused: AtomicU64,
    /// Records by the role of their version, and those that another version than the program's has scored.
    canary: AtomicU64,
    baseline: AtomicU64,
    later: AtomicU64,
    crashes: AtomicU64,
}

#[test]
fn the_log_says_which_version_scored_each_record_whatever_crashes() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seen = Seen::default();
    Simulation::check(200, |sim| one_run(sim, &seen));
    let Seen { made, decided, refused, canary, baseline, later, crashes } = seen;
    let all = [made, decided, refused, canary, baseline, later, crashes].map(AtomicU64::into_inner);
    println!("made, decided, refused, records of canaries, of baselines, of later versions, crashes: {all:?}");
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    // A rollout comes to a decision in few of them.
    let least = |at: usize| if at == 1 { 5 } else { 15 };
    assert!(alone || all.iter().enumerate().all(|(at, count)| *count > least(at)), "{all:?}");
}

fn request(id: usize, change: Value) -> ChangeRequest {
    let operator = "score".to_owned();
    ChangeRequest { id: id.to_string(), operator, change, by: "a test".to_owned(), reason: String::new() }
}

fn one_run(sim: &mut Simulation, seen: &Seen) {
    let count = sim.draw(50..400_u64);
    let (source, control, scored) = (sim.source(), sim.source(), sim.sink::<Scored<Item>>());
    let events = sim.sink::<ChangeEvent>();
    for id in 0..count {
        source.push_to(sim.draw(0..2), id as i64, item(id, Act::Score));
        if sim.draw(0..20) == 0 {
            (0..2).for_each(|partition| source.watermark_of(partition, id as i64));
        }
    }
    let asked = sim.draw(1..8_usize);
    for id in 0..asked {
        let model = format!("model/{}", sim.draw(1..7));
        let change = match sim.draw(0..11) {
            0 | 1 => json!({ "switch": { "model": model } }),
            2 => json!({ "switch": { "model": model, "from_event_time": sim.draw(0..400_i64) } }),
            3 | 4 => json!({ "canary": { "model": model, "share": f64::from(sim.draw(0..6)) / 10.0 } }),
            5 => json!({ "promote": {} }),
            6 => json!({ "roll_back": {} }),
            7 | 8 => {
                let settings = json!({
                    "shadow_records": sim.draw(0..2) * 5, "shadow_interval": "5ms", "steps": [0.2, 0.5], "interval": "10ms", "min_records": 2,
                    "checks": { "score_psi": null, "score_mean_shift": f64::from(sim.draw(0..3)) },
                });
                json!({ "rollout": { "model": model, "settings": settings } })
            }
            9 => json!({ "shadow": { "model": model, "sample": 0.5 } }),
            _ => json!({ "end": "canary" }),
        };
        control.push(id as i64 * sim.draw(1..60), request(id, change));
    }
    let outside = (sim.draw(0..2) == 0).then(|| sim.outside());
    let pool = outside.as_ref().and_then(|_| threads(sim.draw(1..3), sim.draw(0..2) == 0));
    let versions = Numbered { outside };
    let models = Models::of(Fake::new("v0", 0.0, &[])).with_versions_of(versions);
    // A version that is not there for a while is tried again, so that each record gets its score from it.
    let settings = InferSettings { retries: 50, ..settings(sim.draw(1..40), pool) };
    let (from, changes, to, told) = (source.clone(), control.clone(), scored.clone(), events.clone());
    let report = sim.run(move |flow| {
        flow.source("control", &changes)?.change_operators("changes")?;
        flow.change_events("events")?.sink("told", &told)?;
        let items = flow.source("items", &from)?;
        items.infer_by_key("score", &models, &settings, |item| item.id, |item: &Item| &item.wish)?.sink("scored", &to)
    });
    let log = sim.control_log();
    seen.crashes.fetch_add(u64::from(report.crashes), Ordering::Relaxed);
    let by_test = log.iter().filter(|entry| entry.by == "a test").count();
    seen.made.fetch_add(by_test as u64, Ordering::Relaxed);
    seen.decided.fetch_add((log.len() - by_test) as u64, Ordering::Relaxed);
    seen.refused.fetch_add((asked - by_test) as u64, Ordering::Relaxed);
    assert!(log.iter().all(|entry| entry.epoch.is_some()), "the input has ended: nothing is undecided");
    assert!(log.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch), "{log:?}");
    let scored = scored.by_epoch();
    check_events(&log, &events.by_epoch(), scored.last().map_or(0, |(epoch, _)| epoch.0));
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (epoch, Record { data: Scored { record, score, origin, role, model }, .. }) in scored {
        *times.entry(record.id).or_default() += 1;
        assert_eq!(origin, ScoreOrigin::Model);
        let (version, wanted) = scored_by(&log, epoch.0, record.id as i64, &record.id.to_string());
        let found = (score, role, model.unwrap().name.clone());
        assert_eq!(found, (record.id as f32 * 2.0 + version as f32, wanted, format!("v{version}")), "{epoch}: {log:?}");
        seen.later.fetch_add(u64::from(version > 0), Ordering::Relaxed);
        let of_role = match role {
            ModelRole::Canary => &seen.canary,
            ModelRole::Baseline => &seen.baseline,
            _ => continue,
        };
        of_role.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(times.into_iter().collect::<Vec<_>>(), (0..count).map(|id| (id, 1)).collect::<Vec<_>>());
}

/// Keeps the records of a key in the order of their event times.
struct InOrder;

impl KeyedLogic for InOrder {
    type Key = u64;
    type In = Item;
    type Out = Item;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, Item, ()>, record: Record<Item>) -> Result<(), LogicError> {
        ctx.emit(record.data);
        Ok(())
    }
}

#[test]
fn switches_that_a_stream_plans_are_at_the_same_record_in_each_run() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seen = [const { AtomicU64::new(0) }; 3];
    Simulation::check(300, |sim| planned_run(sim, &seen));
    let [made, refused, crashes] = seen.map(AtomicU64::into_inner);
    println!("made, refused, crashes: {made}, {refused}, {crashes}");
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || [made, refused, crashes].iter().all(|count| *count > 15), "{made}, {refused}, {crashes}");
}

/// Nothing of what is expected depends on the control log: only on the input.
fn planned_run(sim: &mut Simulation, [made, refused, crashes]: &[AtomicU64; 3]) {
    let count = sim.draw(20..300_u64);
    let (source, control, scored) = (sim.source(), sim.source(), sim.sink::<Scored<Item>>());
    for id in 0..count {
        source.push_to(sim.draw(0..2), id as i64, item(id, Act::Score));
        if sim.draw(0..20) == 0 {
            (0..2).for_each(|partition| source.watermark_of(partition, id as i64));
        }
    }
    sim.settings().stops = 3;
    // A source that is done says so with its last records, and one that is not may be idle.
    let is_done = sim.draw(0..2) == 0;
    let (mut planned, mut from, mut requests) = (vec![(i64::MIN, 0)], 0, Vec::new());
    for id in 0..sim.draw(1..6_usize) {
        // There is no version 6, and a request that is refused changes nothing.
        let (version, partition) = (sim.draw(1..7_u64), sim.draw(0..2));
        from += sim.draw(1..80_i64);
        let change = json!({ "switch": { "model": format!("model/{version}"), "from_event_time": from } });
        match is_done {
            true => requests.push((EventTime::MIN, request(id, change))),
            false => control.push_to(partition, i64::MIN, request(id, change)),
        }
        if version < 6 {
            planned.push((from, version));
            made.fetch_add(1, Ordering::Relaxed);
        } else {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
    if sim.draw(0..2) == 0 {
        (0..2).for_each(|partition| control.idle(partition));
    }
    (0..2).filter(|_| sim.draw(0..3) == 0).for_each(|partition| source.idle(partition));
    let outside = (sim.draw(0..2) == 0).then(|| sim.outside());
    let pool = outside.as_ref().and_then(|_| threads(sim.draw(1..3), sim.draw(0..2) == 0));
    let models = Models::of(Fake::new("v0", 0.0, &[])).with_versions_of(Numbered { outside });
    let settings = InferSettings { retries: 50, ..settings(sim.draw(1..40), pool) };
    let (items, control, to) = (source.clone(), control.clone(), scored.clone());
    let report = sim.run(move |flow| {
        let requests = match is_done {
            true => flow.source("control", &vec_source(requests.clone()))?,
            false => flow.source("control", &control)?,
        };
        let items = requests.change_operators_before("changes", flow.source("items", &items)?)?;
        let items = items.key_by(|item| item.id % 8).process("in-order", Order::EventTime, |_| Ok(InOrder))?.results;
        items.infer_by_key("score", &models, &settings, |item| item.id, |item: &Item| &item.wish)?.sink("scored", &to)
    });
    crashes.fetch_add(u64::from(report.crashes), Ordering::Relaxed);
    let mut found: Vec<(u64, String)> = scored
        .by_epoch()
        .into_iter()
        .map(|(_, Record { data, .. })| (data.record.id, data.model.unwrap().name.clone()))
        .collect();
    found.sort_unstable();
    let version = |id: u64| planned.iter().rfind(|(from, _)| *from <= id as i64).map_or(0, |(_, version)| *version);
    let expected: Vec<(u64, String)> = (0..count).map(|id| (id, format!("v{}", version(id)))).collect();
    assert_eq!(found, expected, "{planned:?}: {:?}", sim.control_log());
}

/// Checks that each change that a record was subject to is an event, once and in order; `last` is the epoch of the last
/// record.
fn check_events(log: &[ControlEntry], events: &[(Epoch, Record<ChangeEvent>)], last: u64) {
    let made: Vec<&ChangeEvent> = events.iter().map(|(_, event)| &event.data).filter(|e| e.epoch.is_some()).collect();
    let wanted: Vec<ChangeEvent> = log.iter().cloned().map(ChangeEvent::from).collect();
    assert!(made.iter().copied().eq(wanted.iter().take(made.len())), "{made:?} of {wanted:?}");
    let missing = &log[made.len()..];
    assert!(missing.iter().all(|entry| entry.epoch > Some(last)), "after {last}: {missing:?}");
    // A rollout may decide anew what came too late.
    let of_test = events.iter().map(|(_, event)| &event.data).filter(|event| event.by == "a test");
    let refused: Vec<&str> = of_test.filter(|event| event.error.is_some()).map(|event| &*event.id).collect();
    assert!(refused.iter().all(|id| !log.iter().any(|entry| entry.id == *id)), "{refused:?}: {log:?}");
}

/// Runs a job over pairs until `enough` says so of a version. Its first model is of a file, and is told to switch to
/// version 1 of the repository.
fn run_pairs(
    repository: &Path,
    checkpoints: &Path,
    enough: impl Fn(Option<u64>) -> bool + Send + Sync + 'static,
) -> Result<Vec<Option<u64>>, JobError> {
    let stop = Arc::new(AtomicBool::new(false));
    let settings = JobSettings {
        checkpoint_dir: Some(checkpoints.to_owned()),
        checkpoint_interval: Duration::from_millis(20),
        ..JobSettings::default()
    };
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let first = Model::load::<Pair>(&file("tree.onnx"), "score", 0)?;
    let versions = ModelRepository::folder(repository).versions_with::<Pair>("score", 0, &SessionSettings::default());
    let models = Models::of(first).with_versions_of(versions);
    let (seen, enough) = (Arc::<Mutex<Vec<Option<u64>>>>::default(), Arc::new(enough));
    let found = Arc::clone(&seen);
    Job::new("pairs", setup).run(move |flow| {
        let request = request(1, json!({ "switch": { "model": "pairs/1" } }));
        flow.source("control", &vec_source(vec![(EventTime(0), request)]))?.change_operators("changes")?;
        let pairs = Generator::new(1_000_000, |id| (EventTime(id as i64), Pair { a: id as f64, b: 1.0 })).rate(5_000.0);
        let (found, stop, enough) = (Arc::clone(&found), Arc::clone(&stop), Arc::clone(&enough));
        let scored = flow.source("pairs", &pairs)?.infer("score", &models, &InferSettings::default(), |pair| pair)?;
        scored
            .inspect(move |scored| {
                let version = scored.data.model.as_ref().and_then(|model| model.version);
                found.lock().unwrap().push(version);
                stop.fetch_or(enough(version), Ordering::Relaxed);
            })
            .sink("nowhere", &NullSink::default())
    })?;
    Ok(std::mem::take(&mut *seen.lock().unwrap()))
}

#[test]
fn a_restart_needs_no_repository() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (repository, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = repository.path().join("pairs/1");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(file("tree.onnx"), folder.join("model.onnx")).unwrap();
    let sha256: String =
        Sha256::digest(fs::read(file("tree.onnx")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    let manifest = json!({ "name": "pairs", "version": 1, "sha256": sha256 });
    fs::write(folder.join("model.json"), manifest.to_string()).unwrap();
    let run = |enough: fn(Option<u64>) -> bool| run_pairs(repository.path(), checkpoints.path(), enough);
    let versions = run(|version| version == Some(1)).unwrap();
    assert!(versions.contains(&None) && versions.is_sorted(), "{versions:?}");
    fs::remove_dir_all(&folder).unwrap();
    let versions = run(|_| true).unwrap();
    assert!(!versions.is_empty() && versions.iter().all(|version| *version == Some(1)), "{versions:?}");
    // A copy that was changed is not believed, and neither is one that is gone.
    let copy = checkpoints.path().join("versions/score").join(&sha256);
    fs::write(copy.join("model.onnx"), "half").unwrap();
    let error = tidemill::error::with_causes(&run(|_| true).unwrap_err());
    assert!(error.contains("the control log of the checkpoint cannot be followed: pairs/1: "), "{error}");
    assert!(error.contains("its SHA-256 is"), "{error}");
    fs::remove_dir_all(&copy).unwrap();
    let error = tidemill::error::with_causes(&run(|_| true).unwrap_err());
    assert!(error.contains("pairs/1: ") && error.contains("version 1 is not there"), "{error}");
}
