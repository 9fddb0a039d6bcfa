//! The two text formats of `/metrics`. Prometheus' own, `text/plain; version=0.0.4`, is the default; OpenMetrics is
//! given to those who ask for it. They differ in the names of counters in the comments, and in the end.

use std::fmt::Write;

use super::family::{Family, Kind};
use super::histogram::Counts;
use super::samples::{Samples, Value};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// Returns the format for a request with this `Accept` header: OpenMetrics if it is named there, and not refused or
    /// liked less than plain text.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let mut quality = [0.0_f32; 2];
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let wanted = match parts.next() {
                Some("application/openmetrics-text") => &mut quality[0],
                Some("text/plain" | "text/*" | "*/*") => &mut quality[1],
                _ => continue,
            };
            let q = parts.find_map(|parameter| parameter.strip_prefix("q=")?.parse().ok());
            *wanted = wanted.max(q.unwrap_or(1.0));
        }
        let [open, plain] = quality;
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Samples {
    /// Writes all samples: each family once, in the order of names.
    pub(crate) fn text(&self, format: Format) -> String {
        let mut text = String::new();
        for (family, samples) in self.families.values() {
            head(&mut text, family, format);
            for (labels, value) in samples {
                match value {
                    Value::Number(number) => sample(&mut text, family.name, "", labels, *number),
                    Value::Counts(counts) => histogram(&mut text, family.name, labels, counts),
                }
            }
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

// Writing to a string cannot fail, so the results of `write!` are dropped.

fn head(text: &mut String, family: &Family, format: Format) {
    let name = match (format, family.kind) {
        (Format::OpenMetrics, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(family.name),
        _ => family.name,
    };
    let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", family.kind.as_str());
    if let (Format::OpenMetrics, Some(unit)) = (format, family.unit()) {
        _ = writeln!(text, "# UNIT {name} {unit}");
    }
}

fn sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    _ = writeln!(text, "{name}{suffix}{open}{labels}{close} {value}");
}

fn histogram(text: &mut String, name: &str, labels: &str, Counts { bounds, cumulative, sum }: &Counts) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(cumulative) {
        _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
    }
    sample(text, name, "_sum", labels, *sum);
    sample(text, name, "_count", labels, cumulative.last().copied().unwrap_or(0) as f64);
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Buckets;
    use super::super::list as families;
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        samples.add(&families::MESH_REFUSED, &[("reason", "a \"quoted\" \\ reason")], 2.0);
        samples.add(&families::MESH_REFUSED, &[("reason", "another")], 1.0);
        let buckets = Buckets::of("checkpoint_us");
        let mut tally = buckets.tally();
        tally.add(150);
        buckets.add(&tally);
        samples.add_counts(&families::CHECKPOINT_DURATION, &[], buckets.read(1e6));
        samples
    }

    #[test]
    fn the_default_format_names_counters_as_their_samples() {
        let text = samples().text(Format::Prometheus);
        let expected = "# HELP tidemill_mesh_refused_connections_total Connections that were refused while the \
                        processes connected.\n# TYPE tidemill_mesh_refused_connections_total counter\n\
                        tidemill_mesh_refused_connections_total{reason=\"a \\\"quoted\\\" \\\\ reason\"} 2\n\
                        tidemill_mesh_refused_connections_total{reason=\"another\"} 1\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(text.contains("tidemill_checkpoint_duration_seconds_bucket{le=\"0.0001\"} 0\n"), "{text}");
        assert!(text.contains("tidemill_checkpoint_duration_seconds_bucket{le=\"0.0002\"} 1\n"), "{text}");
        assert!(text.contains("tidemill_checkpoint_duration_seconds_bucket{le=\"+Inf\"} 1\n"), "{text}");
        assert!(text.contains("_seconds_sum 0.00015\n"), "{text}");
        assert!(text.contains("_seconds_count 1\n"), "{text}");
    }

    #[test]
    fn open_metrics_names_counters_without_their_end_and_has_units_and_an_end() {
        let text = samples().text(Format::OpenMetrics);
        assert!(text.contains("# TYPE tidemill_mesh_refused_connections counter\n"), "{text}");
        assert!(text.contains("# UNIT tidemill_checkpoint_duration_seconds seconds\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn open_metrics_is_given_only_to_those_who_ask() {
        let accepted = |accept| Format::accepted(Some(accept));
        assert_eq!(Format::accepted(None), Format::Prometheus);
        assert_eq!(accepted("*/*"), Format::Prometheus);
        assert_eq!(accepted("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Prometheus);
        assert_eq!(accepted("application/openmetrics-text;version=1.0.0"), Format::OpenMetrics);
        // What Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        assert_eq!(accepted("application/openmetrics-text;q=0, text/plain"), Format::Prometheus);
        assert_eq!(accepted("application/openmetrics-text;q=0.2, text/plain;q=0.9"), Format::Prometheus);
    }
}
