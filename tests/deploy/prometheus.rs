//! A real Prometheus that scrapes jobs and evaluates the rules, with short times.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use deploy::alerts::alerts;
use deploy::rules::{self, Runbooks};
use deploy::span::Times;
use serde_json::Value as Json;
use testkit::prometheus::program;
use testkit::{free_address, project};

use crate::running::{Running, pause};

/// All times of the rules are divided by this: five minutes are five seconds.
const FASTER: u32 = 60;

pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these jobs twice a second.
    pub fn start(jobs: &[&Running]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let times = Times::divided_by(FASTER);
        let rules = rules::file(&alerts(&times), &times, &Runbooks("page".to_owned()));
        std::fs::write(folder.path().join("tidemill.rules.yml"), rules).unwrap();
        let targets: Vec<String> = jobs.iter().map(|job| job.address.to_string()).collect();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nrule_files: [tidemill.rules.yml]\n\
             scrape_configs: [{{job_name: tidemill, static_configs: [{{targets: {targets:?}}}]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let address = free_address();
        let child = Command::new(program(&project(), "prometheus"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Prometheus is needed ({e}): `cargo xtask setup` gets it"));
        let started = Self { child, address, _folder: folder };
        while started.ask("/api/v1/status/buildinfo").is_none() {
            pause();
        }
        started
    }

    fn ask(&self, path: &str) -> Option<Json> {
        let mut answer = ureq::get(format!("http://{}{path}", self.address)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    }

    /// Returns the labels of the alerts that fire.
    pub fn firing(&self) -> Vec<BTreeMap<String, String>> {
        let answer = self.ask("/api/v1/alerts").unwrap();
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        let fires = alerts.iter().filter(|alert| alert["state"] == "firing");
        fires.map(|alert| serde_json::from_value(alert["labels"].clone()).unwrap()).collect()
    }

    /// Returns the value of an expression without labels; `None` if it has none.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let mut answer =
            ureq::get(format!("http://{}/api/v1/query", self.address)).query("query", expression).call().unwrap();
        let answer: Json = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Returns the errors of rules: the last error of each rule that cannot be evaluated.
    pub fn rule_errors(&self) -> Vec<String> {
        let answer = self.ask("/api/v1/rules").unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.filter(|rule| rule["health"] == "err").map(|rule| rule["lastError"].to_string()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
