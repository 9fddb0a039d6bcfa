//! Where spans are sent and how, from the job's setting and the variables that OpenTelemetry defines
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue, Uri};

use crate::error::{JobError, Remedy};
use crate::spans::Value;

const PATH: &str = "/v1/traces";

/// Where spans are sent, and how.
#[derive(Debug, PartialEq)]
pub(crate) struct OtlpSettings {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    /// How long a request may take.
    pub(super) timeout: Duration,
    /// What is said of the process as a whole.
    pub(super) resource: Vec<(String, Value)>,
    /// The share of epochs that are recorded.
    pub(super) share: f64,
    /// Maximum number of spans that wait.
    pub(super) queue: usize,
    /// Maximum number of spans of a request.
    pub(super) batch: usize,
    /// How long a span waits for others, to be sent with them.
    pub(super) delay: Duration,
}

impl OtlpSettings {
    /// Returns the settings of `job`; `None` if nothing says where to send spans. `endpoint` is the job's own setting, and
    /// `variable` looks up a variable of the environment.
    ///
    /// # Errors
    /// When something cannot work; the error names the variable.
    pub(crate) fn of(
        job: &str,
        endpoint: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, JobError> {
        Self::read(job, endpoint, variable)
            .map_err(|fault| JobError::setting(fault, [Remedy::Setting("otlp_endpoint")]))
    }

    fn read(
        job: &str,
        endpoint: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        // The specification has an empty variable mean what a missing one means.
        let text = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let of_traces = |name: &str| {
            let (own, all) = (format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}"));
            text(&own).map(|text| (own, text)).or_else(|| text(&all).map(|text| (all, text)))
        };
        let is = |name: &str, value: &str| text(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || (endpoint.is_none() && is("OTEL_TRACES_EXPORTER", "none")) {
            return Ok(None);
        }
        let (name, url) = match (endpoint, of_traces("ENDPOINT")) {
            (Some(endpoint), _) => ("otlp_endpoint".to_owned(), below(endpoint)),
            // Only this one names the whole path.
            (None, Some((name, url))) if name.contains("TRACES") => (name, url),
            (None, Some((name, url))) => (name, below(&url)),
            (None, None) => return Ok(None),
        };
        check_url(&name, &url)?;
        if let Some((name, protocol)) = of_traces("PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(format!(
                "{name} is \"{protocol}\": spans are sent as http/protobuf, for which collectors listen at port 4318"
            ));
        }
        let headers = of_traces("HEADERS").map_or(Ok(Vec::new()), |(name, text)| headers(&name, &text))?;
        let millis = |found: Option<(String, String)>, default| match found {
            Some((name, text)) => number::<u64>(&name, &text).map(Duration::from_millis),
            None => Ok(default),
        };
        let named = |name: &str| text(name).map(|text| (name.to_owned(), text));
        let count = |name: &str, default: usize| match text(name) {
            Some(text) => number::<usize>(name, &text).and_then(|count| match count {
                0 => Err(format!("{name} is 0: no span could ever be sent")),
                1..=1_000_000 => Ok(count),
                _ => Err(format!("{name} is {count}: at most 1,000,000 spans can wait")),
            }),
            None => Ok(default),
        };
        Ok(Some(Self {
            url,
            headers,
            timeout: millis(of_traces("TIMEOUT"), Duration::from_secs(10))?,
            resource: resource(job, text("OTEL_SERVICE_NAME"), text("OTEL_RESOURCE_ATTRIBUTES").as_deref())?,
            share: share(text("OTEL_TRACES_SAMPLER").as_deref(), text("OTEL_TRACES_SAMPLER_ARG").as_deref())?,
            queue: count("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?,
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
            delay: millis(named("OTEL_BSP_SCHEDULE_DELAY"), Duration::from_secs(5))?,
        }))
    }
}

/// Returns the URL of traces below that of a collector.
fn below(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    if url.ends_with(PATH) { url.to_owned() } else { format!("{url}{PATH}") }
}

fn check_url(name: &str, url: &str) -> Result<(), String> {
    let uri: Uri =
        url.parse().map_err(|fault| format!("{name} is no URL such as http://localhost:4318: \"{url}\": {fault}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err(format!("{name} gives \"{url}\": it has to begin with http:// or https:// and a host")),
    }
}

fn number<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|fault| format!("{name} is \"{text}\": {fault}"))
}

/// Parses `name=value,name=value`, with values that may be percent-encoded.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
        Some((key.trim().to_owned(), decoded(value.trim())?))
    };
    // A header may be a secret: it is not shown.
    pairs.map(|text| pair(text).ok_or_else(|| format!("{name} is not of the form name=value,name=value"))).collect()
}

/// Decodes `%20` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn headers(variable: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let headers = pairs(variable, text)?;
    for (name, value) in &headers {
        let good = HeaderName::from_str(name).is_ok() && HeaderValue::from_str(value).is_ok();
        if !good {
            return Err(format!("{variable} has a header that cannot be sent: \"{name}\""));
        }
    }
    Ok(headers)
}

/// Returns what is said of the process.
fn resource(job: &str, service: Option<String>, attributes: Option<&str>) -> Result<Vec<(String, Value)>, String> {
    let mut resource = pairs("OTEL_RESOURCE_ATTRIBUTES", attributes.unwrap_or_default())?;
    let mut set = |name: &str, value: String| {
        resource.retain(|(known, _)| known != name);
        resource.push((name.to_owned(), value));
    };
    service.into_iter().for_each(|service| set("service.name", service));
    set("telemetry.sdk.name", "tidemill".to_owned());
    set("telemetry.sdk.language", "rust".to_owned());
    set("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned());
    if !resource.iter().any(|(name, _)| name == "service.name") {
        resource.push(("service.name".to_owned(), job.to_owned()));
    }
    let mut resource: Vec<_> = resource.into_iter().map(|(name, value)| (name, value.into())).collect();
    resource.push(("tidemill.job".to_owned(), job.into()));
    resource.push(("process.pid".to_owned(), u64::from(std::process::id()).into()));
    Ok(resource)
}

/// Returns the share of epochs that a sampler records. An epoch has no parent, so both kinds of samplers do the same.
fn share(sampler: Option<&str>, argument: Option<&str>) -> Result<f64, String> {
    match sampler.map(|sampler| sampler.trim_start_matches("parentbased_")) {
        None | Some("always_on") => Ok(1.0),
        Some("always_off") => Ok(0.0),
        Some("traceidratio") => {
            let share = argument.map_or(Ok(1.0), |text| number::<f64>("OTEL_TRACES_SAMPLER_ARG", text))?;
            let fault = || format!("OTEL_TRACES_SAMPLER_ARG is {share}: it has to be from 0 to 1");
            (0.0..=1.0).contains(&share).then_some(share).ok_or_else(fault)
        }
        Some(other) => Err(format!(
            "OTEL_TRACES_SAMPLER is \"{other}\": there are always_on, always_off, traceidratio, and the same after parentbased_"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn read(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<OtlpSettings>, JobError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        OtlpSettings::of("fraud", endpoint, &find)
    }

    fn url(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        read(endpoint, variables).unwrap().map(|settings| settings.url)
    }

    #[test]
    fn the_address_is_that_of_the_most_special_setting() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/own");
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
        assert_eq!(url(None, &[all]).as_deref(), Some("http://all:4318/v1/traces"));
        assert_eq!(url(None, &[all, traces]).as_deref(), Some("http://traces:1/own"));
        assert_eq!(url(Some("https://flag/otlp"), &[all, traces]).as_deref(), Some("https://flag/otlp/v1/traces"));
        assert_eq!(url(Some("http://flag/v1/traces"), &[]).as_deref(), Some("http://flag/v1/traces"));
        assert_eq!(url(None, &[all, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(url(None, &[all, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn what_cannot_work_is_refused_by_the_name_of_its_variable() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ] {
            let error = read(None, &[(name, text), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a")]).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
        assert!(read(Some("http://a"), &ratio).is_err());
    }

    #[test]
    fn secrets_are_decoded_and_not_shown() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0, x = y");
        let settings = read(Some("http://a"), &[headers]).unwrap().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("authorization", "Basic c2VjcmV0"), pair("x", "y")]);
        let error = read(Some("http://a"), &[("OTEL_EXPORTER_OTLP_HEADERS", "key=secret\n,x")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn the_service_is_the_job_unless_it_is_named() {
        let service = |variables: &[(&str, &str)]| {
            let settings = read(Some("http://a"), variables).unwrap().unwrap();
            let names: Vec<_> = settings.resource.into_iter().filter(|(name, _)| name == "service.name").collect();
            names.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=b,deployment.environment.name=test");
        assert_eq!(service(&[]), ["fraud".into()]);
        assert_eq!(service(&[attributes]), ["b".into()]);
        assert_eq!(service(&[attributes, ("OTEL_SERVICE_NAME", "c")]), ["c".into()]);
    }

    #[test]
    fn a_sampler_records_its_share() {
        let share = |sampler: &str, argument| share(Some(sampler), argument).unwrap();
        assert_eq!(share("parentbased_always_off", None), 0.0);
        assert_eq!(share("parentbased_traceidratio", Some("0.25")), 0.25);
        assert_eq!(share("always_on", Some("nonsense")), 1.0);
    }
}
