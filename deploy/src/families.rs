//! The metrics that exist. They are read from the text of the engine's own list, so that what is made of it needs no
//! engine; a test in `deploy/tests` compares the two.

use std::sync::LazyLock;

/// A family of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What is measured, in one sentence.
    pub help: &'static str,
}

const LIST: &str = include_str!("../../engine/src/metrics/list.rs");

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| LIST.lines().filter_map(family).collect());

/// Returns all families.
#[must_use]
pub fn families() -> &'static [Family] {
    &FAMILIES
}

/// Reads a line `ID: Kind "name" LABELS, "help";`.
fn family(line: &'static str) -> Option<Family> {
    let (id, rest) = line.trim().strip_suffix("\";")?.split_once(": ")?;
    let (kind, rest) = rest.split_once(" \"")?;
    let (name, rest) = rest.split_once('"')?;
    let (_, help) = rest.split_once(", \"")?;
    // The help is the last string; labels come before it.
    let help = help.rsplit_once(", \"").map_or(help, |(_, help)| help);
    let is_id = id.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit());
    (is_id && ["Counter", "Gauge", "Histogram"].contains(&kind)).then(|| Family {
        name,
        kind: kind.to_ascii_lowercase(),
        help,
    })
}

/// Returns the family of a name in an expression: a histogram has samples of other names.
#[must_use]
pub fn family_of(name: &str) -> Option<&'static Family> {
    let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
    families().iter().find(|family| {
        family.name == name || family.kind == "histogram" && of_histogram.is_some_and(|name| family.name == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_is_read() {
        let line = "    X_1: Counter \"x_total\" &[\"a\", \"b\"], \"What is counted.\";";
        let expected = Family { name: "x_total", kind: "counter".to_owned(), help: "What is counted." };
        assert_eq!(family(line), Some(expected));
        assert_eq!(family("    Z: Gauge \"z\" OPERATOR, \"Some, or none.\";").unwrap().help, "Some, or none.");
        assert_eq!(family("//! Text: Gauge \"z\" LABELS, \"Not one.\";"), None);
    }

    #[test]
    fn the_samples_of_a_histogram_are_of_its_family() {
        assert!(families().len() > 60);
        assert_eq!(family_of("tidemill_latency_seconds_bucket").unwrap().name, "tidemill_latency_seconds");
        assert_eq!(family_of("tidemill_epoch_bucket"), None);
    }
}
