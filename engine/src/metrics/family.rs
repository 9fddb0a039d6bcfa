//! What a family of metrics is: its name, type, labels and help.

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows, from 0 at the start of the process. Its name ends in `_total`.
    Counter,
    /// A number that is set.
    Gauge,
    /// Values counted by size, in buckets with fixed bounds.
    Histogram,
}

impl Kind {
    /// Returns the name of the type in Prometheus' text format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of metrics: all samples of one name. `/metrics`, the page of metrics and the dashboards are made of the
/// same list of them.
#[derive(Debug)]
pub struct Family {
    /// The name, with its unit and, for a counter, with `_total`.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The names of the labels of each sample.
    pub labels: &'static [&'static str],
    /// What is measured, in one sentence.
    pub help: &'static str,
}

impl Family {
    /// The units that a name may end in, before `_total`.
    const UNITS: [&'static str; 4] = ["seconds", "bytes", "records", "ratio"];

    /// Returns the unit of the samples, which is the end of the name; `None` if they count what the name says.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        Self::UNITS.into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}
