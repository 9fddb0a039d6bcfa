//! The two text formats of `/metrics`. Prometheus' own, `text/plain; version=0.0.4`, is the default; OpenMetrics is
//! given to those who ask for it. They differ in the names of counters in the comments, and in the end.

use std::fmt::Write;

use super::family::{Family, Kind};
use super::format::Format;
use super::histogram::Counts;
use super::samples::{Samples, Value};

impl Samples {
    /// Writes all samples in a text format: each family once, in the order of names.
    pub(super) fn text(&self, format: Format) -> String {
        let mut text = String::new();
        for (family, samples) in self.families.values() {
            head(&mut text, family, format);
            for (values, value) in samples {
                let labels = labels(family, values);
                match value {
                    Value::Number(number) => sample(&mut text, family.name, "", &labels, *number),
                    Value::Counts(counts) => histogram(&mut text, family.name, &labels, counts),
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

/// Returns labels as both formats have them, without the braces.
fn labels(family: &Family, values: &[String]) -> String {
    let mut text = String::new();
    for (name, value) in family.labels.iter().zip(values) {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

fn sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    _ = writeln!(text, "{name}{suffix}{open}{labels}{close} {value}");
}

fn histogram(text: &mut String, name: &str, labels: &str, Counts { bounds, cumulative, sum, native: _ }: &Counts) {
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
}
