//! What an expression of PromQL names.

use std::collections::BTreeSet;

/// Returns the names of metrics in an expression: what begins as ours do, outside of strings, labels and matchers.
#[must_use]
pub fn metrics(expression: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c| !is_word(c));
    words
        .filter(|word| ["tidemill_", "process_"].iter().any(|start| word.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

/// Returns a quantile of a stage of the latency, by operator, for the processes that `$S` stands for.
#[must_use]
pub fn latency(q: &str, stage: &str) -> String {
    format!(
        "histogram_quantile({q}, sum by (operator, le) (rate(tidemill_latency_seconds_bucket{{$S,stage=\"{stage}\"}}[$__rate_interval])))"
    )
}

/// Returns the condition that a counter has grown within `window`, for sums `by` these labels.
///
/// `increase` alone does not see what was counted before the first scrape of a process. All counters begin at 0 with
/// the process, so what a process that is younger than the window has counted, it has counted in the window.
#[must_use]
pub fn grew(by: &str, counter: &str, window: crate::span::Span) -> String {
    let seconds = window.seconds();
    format!(
        "sum by ({by}) (increase({counter}[{window}])) > 0\n  or\nsum by ({by}) ({counter}\n    and on (job, instance) \
         (time() - process_start_time_seconds < {seconds})) > 0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_strings_are_no_metrics() {
        let found = metrics("rate(tidemill_a_total{x=\"tidemill_b\"}[5m]) > on (job) process_c / up");
        assert_eq!(found, BTreeSet::from(["tidemill_a_total".to_owned(), "process_c".to_owned()]));
    }
}
