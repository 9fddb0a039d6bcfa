//! Native histograms, as a real Prometheus scrapes them from a running job.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use serde_json::Value as Json;
use testkit::{free_address, project};

use super::{Running, sum};

/// A Prometheus that scrapes one job. It ends when this is dropped.
struct Prometheus {
    address: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Prometheus {
    fn scraping(job: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = folder.path().join("prometheus.yml");
        let job = format!("{{job_name: tidemill, static_configs: [{{targets: [\"{job}\"]}}]}}");
        std::fs::write(&config, format!("global: {{scrape_interval: 200ms}}\nscrape_configs: [{job}]\n")).unwrap();
        let unpacked = project().join(".cache/prometheus/usr/bin/prometheus");
        let program = if unpacked.exists() { unpacked } else { "prometheus".into() };
        let process = Command::new(program)
            .arg("--enable-feature=native-histograms")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Prometheus is needed ({e}): `cargo xtask setup` gets it"));
        Self { address, process, _folder: folder }
    }

    /// Returns the answer to a query that has one number; `None` before there is one.
    fn ask(&mut self, query: &str) -> Option<f64> {
        assert_eq!(self.process.try_wait().unwrap(), None, "Prometheus has ended");
        let url = format!("http://{}/api/v1/query", self.address);
        let mut answer = ureq::get(url).query("query", query).call().ok()?;
        let answer: Json = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).unwrap();
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    #[expect(clippy::disallowed_methods, reason = "the test looks at a running server from outside")]
    fn until(&mut self, query: &str, is: impl Fn(f64) -> bool) -> f64 {
        loop {
            if let Some(number) = self.ask(query).filter(|number| is(*number)) {
                return number;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[test]
fn a_real_prometheus_answers_quantiles_from_native_histograms() {
    let running = Running::start();
    running.write(20_000);
    let text = running.until("/metrics", |_, text| {
        let read = sum(text, "tidemill_operator_records_in_total", "operator=\"numbers\"");
        read == running.written.load(Ordering::Relaxed) as f64
            && sum(text, "tidemill_latency_seconds_count", "stage=\"total\"") > 0.0
    });
    let mut prometheus = Prometheus::scraping(running.address);
    // Without `_bucket`, `_count` or `_sum`: these are there only in native histograms.
    let source = "sum(tidemill_latency_seconds{stage=\"source\"})";
    let of_text = |end: &str| sum(&text, &format!("tidemill_latency_seconds_{end}"), "stage=\"source\"");
    prometheus.until(&format!("histogram_count({source})"), |count| count == of_text("count"));
    let total = prometheus.ask(&format!("histogram_sum({source})")).unwrap();
    assert!((total - of_text("sum")).abs() < 1e-6, "{total}, {}", of_text("sum"));
    // The quantiles are those that the job computes from all values by itself, to the width of a bucket.
    let status: Json = serde_json::from_str(&running.until("/status", |status, _| status == 200)).unwrap();
    let numbers = status["operators"].as_array().unwrap().iter().find(|one| one["name"] == "numbers").unwrap();
    for (quantile, name) in [("0.5", "p50"), ("0.99", "p99")] {
        let expected = numbers["distributions"]["read_us"][name].as_f64().unwrap() / 1e6;
        let found = prometheus.ask(&format!("histogram_quantile({quantile}, {source})")).unwrap();
        assert!((0.8..1.2).contains(&(found / expected)), "{name}: {found}, {expected}");
    }
    // What is no histogram comes as it does as text.
    assert_eq!(prometheus.ask("tidemill_job_state{state=\"running\"}"), Some(1.0));
    let letters = prometheus.ask("sum(tidemill_operator_dead_letters_total{operator=\"numbers\"})");
    assert_eq!(letters, Some(1.0));
    running.end();
}
