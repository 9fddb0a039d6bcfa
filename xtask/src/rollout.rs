//! A demo of models that change while the job runs: a worse version is tried on a share of the cards and rolls itself back, an
//! equal one is promoted; then the predictions are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::{free_address, publish_version};

use crate::demo::parts;
use crate::{cargo, check, example, root, scratch, setup};

const LOOK: Duration = Duration::from_millis(200);
const MODEL: &str = "fraud_velocity";

pub fn run() -> Result<()> {
    setup::run()?;
    println!("building the job");
    check(cargo().args(["build", "--release", "--package", "programs", "--example", MODEL, "--features", "tables"]))?;
    let folder = scratch("demo-models")?;
    // The shipped model, one that was trained on the amount alone, and one that is as good as the first.
    let models = [("fraud_velocity.onnx", 1), ("fraud_velocity_worse.onnx", 2), ("fraud_velocity.onnx", 3)];
    for (file, version) in models {
        let model = root().join("models").join(file);
        publish_version(&folder.join("models"), MODEL, version, &model)
            .with_context(|| format!("cannot publish {}", model.display()))?;
    }
    let mut job = Job::start(&folder)?;
    println!("page of the job: http://{}/ (Inference)", job.address);
    job.wait("/status", |status| status["committed_epoch"].as_u64() > Some(0))?;
    println!("version 1 scores all transactions, 20,000 a second of 5,000 cards\n");
    // Simulated time passes far faster than that of the clock.
    let settings = json!({ "interval": "1h", "steps": [0.05, 0.2, 0.5], "checks": { "alert_threshold": 0.85 } });
    println!("version 2 was trained on the amount alone (ROC AUC 0.63 instead of 0.90): it is rolled out");
    job.ask(&json!({ "rollout": { "model": "fraud_velocity/2", "settings": settings } }))?;
    let reason = job.follow("is rolled back")?;
    println!("\nversion 3 is as good as version 1: it is rolled out");
    job.ask(&json!({ "rollout": { "model": "fraud_velocity/3", "settings": settings } }))?;
    job.follow("is promoted")?;
    job.stop()?;
    prove(&folder.join("predictions"), &reason)
}

struct Job {
    child: Child,
    address: String,
    token: String,
    log: std::path::PathBuf,
    /// Identifiers of the changes that were shown.
    shown: BTreeSet<String>,
}

impl Job {
    fn start(folder: &Path) -> Result<Self> {
        let address = free_address().to_string();
        let log = folder.join("job.log");
        let mut command = example(MODEL)?;
        command.args(["--count", "100000000", "--rate", "20000", "--workers", "2", "--http", &address]);
        command.args(["--use-model", "fraud_velocity/1", "--models"]).arg(folder.join("models"));
        command.arg("--checkpoint-dir").arg(folder.join("checkpoints"));
        command.arg("--predictions").arg(folder.join("predictions"));
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn();
        let child = child.context("cannot start fraud_velocity")?;
        let mut job = Self { child, address, token: String::new(), log, shown: BTreeSet::new() };
        let token = folder.join("checkpoints/http-token");
        while !token.exists() {
            job.pause()?;
        }
        job.token = fs::read_to_string(token)?.trim().to_owned();
        Ok(job)
    }

    #[expect(clippy::disallowed_methods, reason = "a person watches")]
    fn pause(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the job ended early: {status}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        std::thread::sleep(LOOK);
        Ok(())
    }

    /// Asks for `path` until the answer is as wanted.
    fn wait(&mut self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let answer = ureq::get(format!("http://{}{path}", self.address)).call();
            let answer = answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
            let answer = answer.and_then(|text| serde_json::from_str(&text).ok());
            if let Some(answer) = answer.filter(&wanted) {
                return Ok(answer);
            }
            self.pause()?;
        }
    }

    fn ask(&mut self, change: &Value) -> Result<()> {
        let body = json!({ "operator": "score", "change": change, "by": "the demo" }).to_string();
        self.post("changes", &body)
    }

    fn post(&self, path: &str, body: &str) -> Result<()> {
        let request = ureq::post(format!("http://{}/api/v1/{path}", self.address));
        request.header("Authorization", format!("Bearer {}", self.token)).send(body)?;
        Ok(())
    }

    /// Prints what a rollout decides, until a decision says `end`. Returns its reason.
    fn follow(&mut self, end: &str) -> Result<String> {
        loop {
            let changes = self.wait("/api/v1/changes", |_| true)?;
            let mut changes = changes["changes"].as_array().cloned().unwrap_or_default();
            changes.retain(|change| ["scheduled", "refused"].contains(&change["state"].as_str().unwrap_or_default()));
            for change in changes.iter().rev() {
                let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
                if !self.shown.insert(text("id")) {
                    continue;
                }
                ensure!(change["state"] != "refused", "a change was refused: {}", text("error"));
                let reason = text("reason");
                if !reason.is_empty() {
                    println!("  from epoch {} on: {reason}", change["epoch"]);
                }
                if reason.contains(end) {
                    return Ok(reason);
                }
            }
            self.pause()?;
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.post("stop", "{}")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the job failed: {status}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        Ok(())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a version has scored.
#[derive(Default)]
struct Reached {
    count: u64,
    cards: BTreeSet<u64>,
}

/// Counts the predictions of each version, and compares those of the bad one with what the log says of it.
fn prove(predictions: &Path, reason: &str) -> Result<()> {
    let (mut by_model, mut seen): (BTreeMap<String, Reached>, BTreeSet<u64>) = Default::default();
    for part in parts(predictions)? {
        for line in BufReader::new(fs::File::open(part)?).lines() {
            let prediction: Value = serde_json::from_str(&line?)?;
            let model = prediction["model"].as_str().unwrap_or_default().to_owned();
            let Reached { count, cards } = by_model.entry(model).or_default();
            *count += 1;
            cards.insert(prediction["card_id"].as_u64().context("a prediction has no card_id")?);
            let id = prediction["tx_id"].as_u64().context("a prediction has no tx_id")?;
            ensure!(seen.insert(id), "transaction {id} was scored twice");
        }
    }
    println!("\n{} predictions, none twice:", seen.len());
    for (model, Reached { count, cards }) in &by_model {
        println!("  {model:45} {count:>9} of {} cards", cards.len());
    }
    let bad = by_model.iter().find(|(model, _)| model.starts_with("fraud_velocity/2"));
    let (_, Reached { count, cards }) = bad.context("version 2 has scored nothing")?;
    let said = reason.split("it has reached ").nth(1).unwrap_or_default();
    println!(
        "the worse version has reached {count} transactions of {} cards; when it was decided: {said}",
        cards.len()
    );
    let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    let reached = numbers.get(..2).is_some_and(|said| said[0] <= *count && said[1] <= cards.len() as u64);
    ensure!(reached, "the log says {said}");
    ensure!(by_model.len() == 3, "there are predictions of {} versions, and not of 3", by_model.len());
    Ok(())
}
