//! Models that are changed over HTTP while the job runs.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use testkit::lines;
use tests::control::newest_log;
use tidemill::infer::{
    Backend, ElementType, Elements, ModelError, ModelInfo, ModelRef, ModelSource, RunError, Tensor, TensorSpec,
    VersionChoice, VersionId, VersionSource,
};
use tidemill::job::{JobSetup, JobState};
use tidemill::labels::{LabelsExt, QualityExt, QualitySettings};
use tidemill::prelude::*;

use super::client::{Answer, ask, get};
use super::job;

const PATH: &str = "/api/v1/changes";

features! {
    pub struct Seen { at }
}

/// A model whose score is its version; version 5 scores as version 1 does, and version 9 says the opposite.
struct Constant {
    info: ModelInfo,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    score: f32,
}

impl Constant {
    fn new(version: u64) -> Self {
        Self {
            info: ModelInfo { name: "constant".to_owned(), version: Some(version), hash: version.to_string() },
            inputs: vec![TensorSpec::fixed("seen", ElementType::F32, [1])],
            outputs: vec![TensorSpec::fixed("score", ElementType::F32, [])],
            score: match version {
                5 => 1.0,
                9 => 0.0,
                other => other as f32,
            },
        }
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
        Ok(Box::new(Score(self.score)))
    }
}

struct Score(f32);

impl Backend for Score {
    fn run(&mut self, rows: usize, _: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let Some(Tensor { elements: Elements::F32(scores), .. }) = outputs.first_mut() else { panic!("one output") };
        scores.extend((0..rows).map(|_| self.0));
        Ok(())
    }
}

/// Versions 1 to 9, of which version 7 is never loaded, and 8 panics.
struct Versions;

impl VersionSource for Versions {
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError> {
        let version = match wanted.version {
            VersionChoice::Number(number) if number.get() < 10 => number,
            _ => return Err(ModelError::Unusable { model: wanted.to_string(), reason: "no such version".to_owned() }),
        };
        Ok(VersionId { name: wanted.name.clone(), version, sha256: version.to_string() })
    }

    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        assert_ne!(id.version, NonZeroU64::new(8).unwrap(), "eight");
        if id.version.get() == 7 {
            return Err(ModelError::Unusable { model: id.to_string(), reason: "half of it is missing".to_owned() });
        }
        Ok(Arc::new(Constant::new(id.version.get())))
    }
}

struct Running {
    scratch: TempDir,
    settings: JobSettings,
    stop: Arc<AtomicBool>,
    job: JoinHandle<Result<Snapshot, JobError>>,
}

/// Starts a job that makes 5,000 records a second of 1,000 keys, and scores them.
fn start(scratch: TempDir) -> Running {
    let settings = job::settings(&scratch);
    let (stop, out) = (Arc::new(AtomicBool::new(false)), scratch.path().join("out"));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings.clone()).prepared_by(move || Ok(Arc::clone(&asked)));
    let job = std::thread::spawn(move || {
        Job::new("models", setup).run(move |flow| {
            let made = |id: u64| (EventTime(id as i64), (id, Seen { at: id as f64 }));
            let source = Generator::new(1_000_000, made).rate(5_000.0);
            let models = Models::of(Constant::new(1)).with_versions_of(Versions);
            let settings = InferSettings::default();
            let records = flow.source("records", &source)?;
            let scored = records.infer_by_key("score", &models, &settings, |(id, _)| id % 1000, |(_, seen)| seen)?;
            judge(flow, scored.clone())?;
            scored.map(|scored| (scored.record.0, scored.score)).sink("out", &FileSink::json_lines(&out))
        })
    });
    let running = Running { scratch, settings, stop, job };
    running.wait("/status", |status| status["committed_epoch"].as_u64() > Some(0));
    // A job that was restored has committed epochs before it is built.
    running.wait("/api/v1/models", |all| all["operators"]["score"]["primary"].is_array());
    running
}

/// Judges the scores by labels that come five milliseconds of event time later: nine of ten records are positive.
fn judge<'s>(flow: &Flow<'s>, scored: Stream<'s, Scored<(u64, Seen)>>) -> Result<(), JobError> {
    let made = |id: u64| (EventTime(id as i64 + 5), (id, !id.is_multiple_of(10)));
    let labels = flow.source("labels", &Generator::new(1_000_000, made).rate(5_000.0))?;
    let joined = scored.key_by(|scored| scored.record.0).join_labels(
        "labels-of-records",
        labels.key_by(|(id, _)| *id),
        millis(100),
    )?;
    let settings = QualitySettings { rollout: Some("score".to_owned()), ..QualitySettings::default() };
    let truth = |_: &(u64, Seen), label: Option<&(u64, bool)>| label.map(|(_, is_positive)| *is_positive);
    let judged = joined.labelled.quality("quality", &settings, truth)?;
    judged.reports.sink("reports", &NullSink::default())
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "the test looks at a running job from outside")]
    fn wait(&self, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let address = self.settings.http.unwrap();
        loop {
            let is_served = std::net::TcpStream::connect(address).is_ok();
            if let Some(answer) = is_served.then(|| get(address, path).json()).filter(&wanted) {
                return answer;
            }
            assert!(!self.job.is_finished(), "the job has ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn change(&self, body: &Json) -> Answer {
        let token = std::fs::read_to_string(self.scratch.path().join("checkpoints/http-token")).unwrap();
        let token = format!("Authorization: Bearer {}", token.trim());
        ask(self.settings.http.unwrap(), "POST", PATH, &[&token], &body.to_string())
    }

    /// Asks for a change, and waits until it is decided.
    fn decided(&self, change: &Json) -> Json {
        let answer = self.change(&json!({ "operator": "score", "change": change, "by": "anna", "reason": "a test" }));
        assert_eq!((answer.status, &*answer.headers["location"]), (202, PATH), "{answer:?}");
        let id = answer.json()["id"].clone();
        let of = |all: &Json| all["changes"].as_array().unwrap().iter().find(|one| one["id"] == id).cloned();
        let is_over = |one: &Json| one["state"] == "refused" || one["committed"] == true;
        of(&self.wait(PATH, |all| of(all).is_some_and(|one| is_over(&one)))).unwrap()
    }

    /// Waits until `version` has scored a record that is not among the first ones.
    #[expect(clippy::disallowed_methods, reason = "the test looks at a running job from outside")]
    fn has_scored(&self, version: f32, first: &[(u64, f32)]) {
        let out = self.scratch.path().join("out");
        let is_new = |id: &u64| first.binary_search_by_key(id, |(id, _)| *id).is_err();
        while !(out.exists() && scores(&out).iter().any(|(id, score)| *score == version && is_new(id))) {
            assert!(!self.job.is_finished(), "the job has ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn status(&self) -> Json {
        get(self.settings.http.unwrap(), "/api/v1/models").json()["operators"]["score"].clone()
    }

    fn stop(self) -> TempDir {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.job.join().unwrap().unwrap().state, JobState::Stopped);
        self.scratch
    }
}

/// Returns the scores in the order of the records.
fn scores(out: &Path) -> Vec<(u64, f32)> {
    let mut scores: Vec<(u64, f32)> = lines(out).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    scores.sort_by_key(|(id, _)| *id);
    assert!(scores.windows(2).all(|pair| pair[0].0 < pair[1].0), "no record twice");
    scores
}

#[test]
fn a_switch_is_in_effect_from_one_epoch_on_and_after_a_restart() {
    let running = start(tempfile::tempdir().unwrap());
    assert_eq!(running.status()["primary"], json!([{ "name": "constant", "version": 1, "hash": "1" }]));
    running.has_scored(1.0, &[]);
    let made = running.decided(&json!({ "switch": { "model": "constant/2" } }));
    assert_eq!((&made["state"], &made["by"], &made["reason"]), (&"scheduled".into(), &"anna".into(), &"a test".into()));
    let model = json!({ "name": "constant", "version": 2, "sha256": "2" });
    assert_eq!(made["change"], json!({ "switch": { "model": model } }), "the log has the version, not its name");
    for (change, why) in [
        (json!({ "switch": { "model": "constant/12" } }), "no such version"),
        (json!({ "switch": { "model": "constant/7" } }), "half of it is missing"),
        (json!({ "switch": { "model": "constant/8" } }), "it panicked"),
        (json!({ "switch": { "model": "constant/3", "from_event_time": 1 } }), "are scored already"),
        (json!({ "promote": {} }), "there is no canary"),
        (json!({ "explode": {} }), "is not understood"),
    ] {
        let refused = running.decided(&change);
        assert_eq!(refused["state"], "refused", "{refused}");
        assert!(refused["error"].as_str().unwrap().contains(why), "{refused}");
    }
    assert_eq!(running.status()["primary"][0]["version"], 2, "nothing has changed");
    running.has_scored(2.0, &[]);
    let scratch = running.stop();
    let first = scores(&scratch.path().join("out"));
    assert!(first.iter().all(|(_, score)| *score <= 2.0), "a refused version has scored");

    let running = start(scratch);
    assert_eq!(running.status()["primary"][0]["version"], 2, "the checkpoint has it");
    assert_eq!(get(running.settings.http.unwrap(), PATH).json()["changes"][0]["id"], made["id"]);
    running.has_scored(2.0, &first);
    let made = running.decided(&json!({ "roll_back": {} }));
    assert_eq!(made["change"], json!({ "switch": { "model": { "program": 0 } } }));
    running.has_scored(1.0, &first);
    running.stop();
}

#[test]
fn tools_that_know_tritons_repository_can_use_this_one() {
    let running = start(tempfile::tempdir().unwrap());
    let address = running.settings.http.unwrap();
    let post = |path: &str| {
        let token = std::fs::read_to_string(running.scratch.path().join("checkpoints/http-token")).unwrap();
        ask(address, "POST", path, &[&format!("Authorization: Bearer {}", token.trim())], "")
    };
    let ready = |version: &str| json!({ "name": "constant", "version": version, "state": "READY", "reason": "" });
    assert_eq!(post("/v2/repository/index").json(), json!([ready("1")]));
    assert_eq!(post("/v2/repository/models/constant%2F2/load").status, 200);
    assert_eq!(running.status()["primary"][0]["version"], 2);
    assert_eq!(post("/v2/repository/index").json(), json!([ready("1"), ready("2")]));
    running.decided(&json!({ "shadow": { "model": "constant/3" } }));
    assert_eq!(post("/v2/repository/models/constant/unload").status, 200);
    assert_eq!(running.status()["shadow"], Json::Null);
    for (path, status, why) in [
        ("/v2/repository/models/constant%2F7/load", 400, "half of it is missing"),
        ("/v2/repository/models/other/load", 404, "no operator of this job has versions of"),
        ("/v2/repository/models/constant/unload", 400, "is neither a canary nor a shadow"),
    ] {
        let answer = post(path);
        assert!(answer.status == status && answer.json()["error"].as_str().unwrap().contains(why), "{answer:?}");
    }
    assert!(super::client::ask(address, "POST", "/v2/repository/index", &[], "").problem(401).contains("token"));
    running.stop();
}

#[test]
fn a_rollout_of_a_version_with_other_scores_rolls_itself_back() {
    let running = start(tempfile::tempdir().unwrap());
    let settings = json!({
        "shadow_records": 500, "shadow_interval": "300ms", "steps": [0.1, 0.5], "interval": "300ms", "min_records": 50,
    });
    let begun = running.decided(&json!({ "rollout": { "model": "constant/2", "settings": settings } }));
    assert_eq!(begun["state"], "scheduled", "{begun}");
    let is_over = |all: &Json| all["changes"][0]["change"] == json!({ "end": "canary" });
    let changes = running.wait(PATH, is_over)["changes"].clone();
    let reasons: Vec<&str> = changes.as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    let wanted = ["is rolled back: ", "begins as a canary: ", "begins as a shadow", "a test"];
    assert!(wanted.iter().zip(&reasons).all(|(wanted, reason)| reason.contains(wanted)), "{reasons:?}");
    assert!(reasons[0].contains("score_psi") && reasons[0].contains("it has reached"), "{}", reasons[0]);
    assert_eq!((&running.status()["canary"], &running.status()["rollout"]), (&Json::Null, &Json::Null));
    let all = scores(&running.stop().path().join("out"));
    let reached = all.iter().filter(|(_, score)| *score == 2.0);
    let keys: std::collections::BTreeSet<u64> = reached.map(|(id, _)| id % 1000).collect();
    assert!((50..200).contains(&keys.len()), "a tenth of the keys, and no other: {}", keys.len());
}

#[test]
fn a_rollout_of_a_version_of_which_labels_say_that_it_is_worse_rolls_itself_back() {
    let running = start(tempfile::tempdir().unwrap());
    let rollout = |version: u64| {
        let checks = json!({ "score_psi": null, "latency_p99": null, "log_loss": 0.5 });
        let settings = json!({
            "shadow_records": 0, "steps": [0.3], "interval": "200ms", "min_records": 50, "checks": checks
        });
        json!({ "rollout": { "model": format!("constant/{version}"), "settings": settings } })
    };
    running.decided(&rollout(9));
    let is_over = |all: &Json| all["changes"][0]["change"] == json!({ "end": "canary" });
    let reason = running.wait(PATH, is_over)["changes"][0]["reason"].as_str().unwrap().to_owned();
    // Of ten records with ln 2^52 each, nine are wrong instead of one.
    let loss = reason.split("log_loss is ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let loss: f64 = loss.parse().unwrap();
    assert!(reason.contains("is rolled back") && (20.0..36.0).contains(&loss), "{reason}");
    running.decided(&rollout(5));
    running.wait("/api/v1/models", |all| all["operators"]["score"]["primary"][0]["version"] == 5);
    running.stop();
}

#[test]
fn a_rollout_is_led_from_step_to_step_as_a_resource_of_its_model() {
    let running = start(tempfile::tempdir().unwrap());
    let address = running.settings.http.unwrap();
    const ROLLOUT: &str = "/v2/models/constant/rollout";
    let shown = || get(address, ROLLOUT).json();
    let post = |body: Json| {
        let token = std::fs::read_to_string(running.scratch.path().join("checkpoints/http-token")).unwrap();
        ask(address, "POST", ROLLOUT, &[&format!("Authorization: Bearer {}", token.trim())], &body.to_string())
    };
    assert_eq!((&shown()["operator"], &shown()["rollout"]), (&json!("score"), &Json::Null));
    // Nothing goes on by itself: no window is ever over.
    let settings = json!({ "shadow_records": 0, "steps": [0.1, 0.5], "interval": "1day", "min_records": 1_000_000 });
    assert_eq!(post(json!({ "start": { "model": "constant/5", "settings": settings } })).status, 200);
    running.wait(ROLLOUT, |shown| shown["rollout"]["step"] == 0);
    assert_eq!(post(json!({ "suspend": true })).status, 200);
    assert_eq!(shown()["rollout"]["suspended"], true);
    assert_eq!(post(json!({ "step": {} })).status, 200);
    let (canary, rollout) = (shown()["canary"].clone(), shown()["rollout"].clone());
    assert_eq!((&canary["share"], &canary["seed"], &rollout["step"]), (&json!(0.5), &rollout["id"], &json!(1)));
    for (body, why) in [
        (json!({ "step": {} }), "is at its last step"),
        (json!({ "start": { "model": "constant/7" } }), "half of it is missing"),
        (json!({ "leap": {} }), "leap"),
    ] {
        let answer = post(body);
        assert!(answer.status == 400 && answer.json()["error"].as_str().unwrap().contains(why), "{answer:?}");
    }
    assert_eq!(post(json!({ "promote": {} })).status, 200);
    assert_eq!((&shown()["primary"][0]["version"], &shown()["rollout"]), (&json!(5), &Json::Null));
    assert_eq!(post(json!({ "step": {} })).status, 400);
    assert_eq!(post(json!({ "roll_back": {} })).status, 200);
    assert_eq!(shown()["primary"][0]["version"], 1);
    assert_eq!(get(address, "/v2/models/other/rollout").status, 404);
    running.stop();
}

#[test]
fn a_rollout_of_a_version_with_the_same_scores_ends_with_its_promotion() {
    let running = start(tempfile::tempdir().unwrap());
    let settings = json!({ "shadow_records": 0, "steps": [0.1, 0.5], "interval": "200ms", "min_records": 20 });
    running.decided(&json!({ "rollout": { "model": "constant/5", "settings": settings } }));
    let status = running.wait("/api/v1/models", |all| all["operators"]["score"]["primary"][0]["version"] == 5);
    assert_eq!(
        (&status["operators"]["score"]["canary"], &status["operators"]["score"]["rollout"]),
        (&Json::Null, &Json::Null)
    );
    let changes = get(running.settings.http.unwrap(), PATH).json();
    let reasons: Vec<&str> =
        changes["changes"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    let wanted = ["is promoted: ", "step 1 of 2 has passed", "begins as a canary", "a test"];
    assert!(wanted.iter().zip(&reasons).all(|(wanted, reason)| reason.contains(wanted)), "{reasons:?}");
    running.stop();
}

#[test]
fn a_step_of_a_rollout_goes_on_after_a_restart() {
    let running = start(tempfile::tempdir().unwrap());
    let settings = json!({ "shadow_records": 0, "steps": [0.5], "interval": "1h", "min_records": 20 });
    running.decided(&json!({ "rollout": { "model": "constant/5", "settings": settings } }));
    let seen = |all: &Json| -> Option<u64> {
        let roles = all["operators"]["score"]["roles_of_step"].as_array()?;
        roles.iter().find(|one| one["role"] == "canary")?["records"].as_u64()
    };
    let before = seen(&running.wait("/api/v1/models", |all| seen(all) > Some(10_000))).unwrap();
    let running = start(running.stop());
    // It takes four seconds until as many come again.
    let after = seen(&get(running.settings.http.unwrap(), "/api/v1/models").json()).unwrap();
    assert!(after >= before, "{after} of {before}");
    let status = running.status();
    assert_eq!((&status["rollout"]["step"], &status["canary"]["share"]), (&json!(0), &json!(0.5)));
    running.stop();
}

#[test]
fn a_request_that_cannot_be_understood_is_answered_at_once() {
    let running = start(tempfile::tempdir().unwrap());
    let switch = json!({ "switch": { "model": "constant/2" } });
    let ask = |body: Json| running.change(&body);
    assert!(ask(json!({ "operator": "scoer", "change": switch })).problem(404).contains("these can: score"));
    assert!(ask(json!({ "operator": "score", "chnage": switch })).problem(400).contains("chnage"));
    let address = running.settings.http.unwrap();
    assert!(super::client::ask(address, "POST", PATH, &[], "{}").problem(401).contains("token"));
    // The same request twice is one change.
    let twice = json!({ "id": "once", "operator": "score", "change": switch });
    assert_eq!((ask(twice.clone()).json(), ask(twice).json()), (json!({ "id": "once" }), json!({ "id": "once" })));
    running.wait(PATH, |all| all["changes"][0]["committed"] == true);
    let scratch = running.stop();
    let log = newest_log(&scratch.path().join("checkpoints"));
    assert_eq!(log.iter().map(|entry| &*entry.id).collect::<Vec<_>>(), ["once"]);
}
