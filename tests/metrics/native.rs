//! Native histograms, as a real Prometheus scrapes them from a running job.

use std::sync::atomic::Ordering;

use serde_json::Value as Json;
use tests::pause;
use tests::prometheus::Prometheus;

use super::{Running, sum};

#[test]
fn a_real_prometheus_answers_quantiles_from_native_histograms() {
    let running = Running::start();
    running.write(20_000);
    let text = running.until("/metrics", |_, text| {
        let read = sum(text, "tidemill_operator_records_in_total", "operator=\"numbers\"");
        read == running.written.load(Ordering::Relaxed) as f64
            && sum(text, "tidemill_latency_seconds_count", "stage=\"total\"") > 0.0
    });
    let flags = ["--enable-feature=native-histograms"];
    let prometheus = Prometheus::start([running.address], "200ms", ("", &flags), |_| ());
    // Without `_bucket`, `_count` or `_sum`: these are there only in native histograms.
    let source = "sum(tidemill_latency_seconds{stage=\"source\"})";
    let of_text = |end: &str| sum(&text, &format!("tidemill_latency_seconds_{end}"), "stage=\"source\"");
    while prometheus.value(&format!("histogram_count({source})")) != Some(of_text("count")) {
        pause();
    }
    let total = prometheus.value(&format!("histogram_sum({source})")).unwrap();
    assert!((total - of_text("sum")).abs() < 1e-6, "{total}, {}", of_text("sum"));
    // The quantiles are those that the job computes from all values by itself, to the width of a bucket.
    let status: Json = serde_json::from_str(&running.until("/status", |status, _| status == 200)).unwrap();
    let numbers = status["operators"].as_array().unwrap().iter().find(|one| one["name"] == "numbers").unwrap();
    for (quantile, name) in [("0.5", "p50"), ("0.99", "p99")] {
        let expected = numbers["distributions"]["read_us"][name].as_f64().unwrap() / 1e6;
        let found = prometheus.value(&format!("histogram_quantile({quantile}, {source})")).unwrap();
        assert!((0.8..1.2).contains(&(found / expected)), "{name}: {found}, {expected}");
    }
    // What is no histogram comes as it does as text.
    assert_eq!(prometheus.value("tidemill_job_state{state=\"running\"}"), Some(1.0));
    let letters = prometheus.value("sum(tidemill_operator_dead_letters_total{operator=\"numbers\"})");
    assert_eq!(letters, Some(1.0));
    running.end();
}
