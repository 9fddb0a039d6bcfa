//! A real Prometheus that scrapes jobs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use testkit::prometheus::program;
use testkit::{Killed, free_address, project};

use crate::pause;

/// It ends when this is dropped.
pub struct Prometheus {
    process: Killed,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these jobs so often, and waits until it answers. `more` are further lines of its
    /// configuration, `flags` further flags; `fill` may put files beside the configuration.
    pub fn start(
        jobs: impl IntoIterator<Item = SocketAddr>,
        every: &str,
        (more, flags): (&str, &[&str]),
        fill: impl FnOnce(&Path),
    ) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let targets: Vec<String> = jobs.into_iter().map(|job| job.to_string()).collect();
        let config = format!(
            "global: {{scrape_interval: {every}, scrape_timeout: {every}}}\n{more}\
             scrape_configs: [{{job_name: tidemill, static_configs: [{{targets: {targets:?}}}]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        fill(folder.path());
        let process = Command::new(program(&project(), "prometheus"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Prometheus is needed ({e}): `cargo xtask setup` gets it"));
        let mut started = Self { process: Killed(process), address, _folder: folder };
        while started.ask("/api/v1/status/buildinfo").is_none() {
            assert_eq!(started.process.try_wait().unwrap(), None, "Prometheus has ended");
            pause();
        }
        started
    }

    /// Returns an answer of its API.
    pub fn ask(&self, path: &str) -> Option<Json> {
        let mut answer = ureq::get(format!("http://{}{path}", self.address)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    }

    /// Returns the value of an expression that has one series; `None` before it has one.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let url = format!("http://{}/api/v1/query", self.address);
        let mut answer = ureq::get(url).query("query", expression).call().unwrap();
        let answer: Json = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}
