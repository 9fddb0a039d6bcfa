//! The formats of `/metrics`, and which of them a request is answered in. Prometheus' own text,
//! `text/plain; version=0.0.4`, is the default; OpenMetrics and protobuf are given to those who ask for them.

use super::samples::Samples;

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
    /// The only one with native histograms.
    Protobuf,
}

impl Format {
    /// Returns the format for a request with this `Accept` header: protobuf or OpenMetrics if it is named there, and
    /// not refused or liked less than the others.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let [mut protobuf, mut open, mut plain] = [0.0_f32; 3];
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let parameter = |name| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            let is = |name, value| parameter(name).is_none_or(|given| given == value);
            let wanted = match kind {
                "application/vnd.google.protobuf"
                    if is("proto", "io.prometheus.client.MetricFamily") && is("encoding", "delimited") =>
                {
                    &mut protobuf
                }
                "application/openmetrics-text" => &mut open,
                "text/plain" | "text/*" | "*/*" => &mut plain,
                _ => continue,
            };
            *wanted = wanted.max(parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0));
        }
        if protobuf > 0.0 && protobuf >= open.max(plain) {
            Self::Protobuf
        } else if open > 0.0 && open >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Whether an answer in this format has native histograms.
    pub(crate) fn has_native(self) -> bool {
        self == Self::Protobuf
    }

    /// Writes the samples.
    pub(crate) fn write(self, samples: &Samples) -> Vec<u8> {
        match self {
            Self::Prometheus | Self::OpenMetrics => samples.text(self).into_bytes(),
            Self::Protobuf => samples.protobuf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn protobuf_is_given_only_to_those_who_ask() {
        let accepted = |accept| Format::accepted(Some(accept));
        // What Prometheus 2.42 sends with native histograms.
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                      application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepted(native), Format::Protobuf);
        assert_eq!(accepted("application/vnd.google.protobuf"), Format::Protobuf);
        assert_eq!(accepted("application/vnd.google.protobuf;q=0,*/*"), Format::Prometheus);
        assert_eq!(accepted("application/vnd.google.protobuf;encoding=text"), Format::Prometheus);
        assert_eq!(accepted("application/vnd.google.protobuf;proto=another.Message"), Format::Prometheus);
        assert_eq!(accepted("application/vnd.google.protobuf;q=0.1,text/plain;q=0.2"), Format::Prometheus);
    }
}
