//! The rules in a real Prometheus, with short times.

use std::collections::BTreeMap;

use deploy::alerts::alerts;
use deploy::rules::{self, Runbooks};
use deploy::span::Times;
use tests::prometheus::Prometheus;

use crate::running::Running;

/// All times of the rules are divided by this: five minutes are five seconds.
const FASTER: u32 = 60;

/// A Prometheus that evaluates the rules.
pub struct Ruled(Prometheus);

impl Ruled {
    /// Starts one that scrapes these jobs twice a second.
    pub fn start(jobs: &[&Running]) -> Self {
        let times = Times::divided_by(FASTER);
        let rules = rules::file(&alerts(&times), &times, &Runbooks("page".to_owned()));
        let jobs = jobs.iter().map(|job| job.address);
        Self(Prometheus::start(jobs, "500ms", ("rule_files: [tidemill.rules.yml]\n", &[]), |folder| {
            std::fs::write(folder.join("tidemill.rules.yml"), rules).unwrap();
        }))
    }

    pub fn value(&self, expression: &str) -> Option<f64> {
        self.0.value(expression)
    }

    /// Returns the labels of the alerts that fire.
    pub fn firing(&self) -> Vec<BTreeMap<String, String>> {
        let answer = self.0.ask("/api/v1/alerts").unwrap();
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        let fires = alerts.iter().filter(|alert| alert["state"] == "firing");
        fires.map(|alert| serde_json::from_value(alert["labels"].clone()).unwrap()).collect()
    }

    /// Returns the errors of rules: the last error of each rule that cannot be evaluated.
    pub fn rule_errors(&self) -> Vec<String> {
        let answer = self.0.ask("/api/v1/rules").unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.filter(|rule| rule["health"] == "err").map(|rule| rule["lastError"].to_string()).collect()
    }
}
