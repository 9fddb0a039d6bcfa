//! Settings for calls to a model server, and its address.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::CircuitSettings;

/// Settings for the calls to a model server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Maximum time for a batch in total: waiting for its turn, all attempts, and the pauses between them; default
    /// 250 ms. A batch that is not scored by then goes to the fallback.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Maximum number of retries of a failed call; default 2. There is no retry beyond the deadline.
    pub retries: usize,
    /// The pause before the first retry; default 10 ms. It doubles before each further retry. A random time of up to
    /// the same length is added to each pause, so that clients that failed together do not retry together.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// Maximum pause, without the random addition; default 100 ms.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
    /// Maximum number of concurrent calls, over all threads of this process; default 8.
    pub max_concurrent_calls: NonZeroUsize,
    /// Settings of the circuit breaker, which suspends the calls to a failing server.
    pub circuit: CircuitSettings,
    /// The meaning of an internal server error (HTTP 500; `INTERNAL` and `UNKNOWN` of gRPC); default:
    /// [`ServerErrors::Unavailable`].
    pub server_errors: ServerErrors,
    /// Maximum time for the server to become ready before the job starts; default 30 s.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
}

/// The meaning of an internal server error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerErrors {
    /// The server is failing: the whole batch goes to the fallback, and the circuit may open.
    #[default]
    Unavailable,
    /// A record may be at fault, because some servers answer this way to a record they cannot process. The batch is
    /// bisected, and the circuit does not change.
    Batch,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(250),
            retries: 2,
            backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(100),
            max_concurrent_calls: NonZeroUsize::MIN.saturating_add(7),
            circuit: CircuitSettings::default(),
            server_errors: ServerErrors::default(),
            start_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerSettings {
    /// Returns a message for each invalid setting.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let circuit = &self.circuit;
        let times = [
            ("deadline", self.deadline),
            ("backoff", self.backoff),
            ("start_timeout", self.start_timeout),
            ("circuit.open_for", circuit.open_for),
        ];
        let zero = times.iter().filter(|(_, time)| time.is_zero());
        let zero = zero.map(|(name, _)| format!("{name} is 0: it must be above 0"));
        faults.extend(zero);
        if circuit.failures == 0 || circuit.failures > circuit.window {
            let CircuitSettings { failures, window, .. } = circuit;
            faults.push(format!(
                "circuit.failures is {failures} and circuit.window is {window}: failures must be 1 or more, and not above window"
            ));
        }
        if circuit.probes == 0 {
            faults.push("circuit.probes is 0: it must be 1 or more".to_owned());
        }
        if circuit.max_open_for < circuit.open_for {
            let (most, first) = (circuit.max_open_for, circuit.open_for);
            faults.push(format!("circuit.max_open_for is {most:?}, below circuit.open_for, which is {first:?}"));
        }
        if self.max_backoff < self.backoff {
            let (most, first) = (self.max_backoff, self.backoff);
            faults.push(format!("max_backoff is {most:?}, below backoff, which is {first:?}"));
        }
        faults
    }
}

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    OpenInferenceGrpc,
    OpenInferenceRest,
    TensorFlowGrpc,
    TensorFlowRest,
}

/// The schemes of addresses.
const SCHEMES: [(&str, Spoken); 4] = [
    ("oip+grpc", Spoken::OpenInferenceGrpc),
    ("oip+http", Spoken::OpenInferenceRest),
    ("tfs+grpc", Spoken::TensorFlowGrpc),
    ("tfs+http", Spoken::TensorFlowRest),
];

/// The address of a model on a server: `oip+grpc://host:port/model`, `…/model/version`, `tfs+…?signature=name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) spoken: Spoken,
    /// `host:port`.
    pub(super) authority: String,
    pub(super) model: String,
    /// The version; with none, the server chooses it.
    pub(super) version: Option<String>,
    /// The signature of the model; for TensorFlow Serving only.
    pub(super) signature: String,
}

impl ServerUrl {
    /// Returns the path of the model under `models`, with the version if one is set. Both REST protocols use this form.
    pub(super) fn rest_path(&self, models: &str) -> String {
        let version = self.version.as_ref().map(|version| format!("/versions/{version}")).unwrap_or_default();
        format!("{models}/{}{version}", self.model)
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "oip+grpc, oip+http, tfs+grpc or tfs+http, as in oip+grpc://host:port/model";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("no address of a model server: {wanted}"))?;
        let known = SCHEMES.into_iter().find(|(name, _)| *name == scheme);
        let (_, spoken) = known.ok_or_else(|| format!("\"{scheme}\" is not known: {wanted}"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tensorflow = matches!(spoken, Spoken::TensorFlowGrpc | Spoken::TensorFlowRest);
        let signature = match query.split_once('=') {
            None if query.is_empty() => "serving_default",
            Some(("signature", name)) if tensorflow && !name.is_empty() => name,
            _ => return Err(format!("\"?{query}\" is not known: tfs+… takes ?signature=name, others nothing")),
        };
        let mut parts = path.split('/');
        let authority = parts.next().unwrap_or_default();
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(format!("\"{authority}\" is no host:port"));
        }
        let allowed =
            |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let model = parts.next().filter(allowed).ok_or("no model is named after host:port/")?;
        let version = parts.next().map(|version| {
            // TensorFlow Serving numbers its versions.
            let is_number = version.parse::<u32>().is_ok();
            let fits = allowed(&version) && (is_number || !tensorflow);
            if fits { Ok(version.to_owned()) } else { Err(format!("\"{version}\" is no version")) }
        });
        if parts.next().is_some() {
            return Err("there is more than host:port/model/version".to_owned());
        }
        Ok(Self {
            spoken,
            authority: authority.to_owned(),
            model: model.to_owned(),
            version: version.transpose()?,
            signature: signature.to_owned(),
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, spoken)| *spoken == self.spoken).map_or("", |(name, _)| name);
        write!(f, "{scheme}://{}/{}", self.authority, self.model)?;
        self.version.iter().try_for_each(|version| write!(f, "/{version}"))?;
        if self.signature == "serving_default" { Ok(()) } else { write!(f, "?signature={}", self.signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for text in [
            "oip+grpc://a:1/m",
            "oip+http://a.b:65535/m-1/v2",
            "tfs+grpc://[::1]:8500/m/3?signature=s",
            "tfs+http://h:1/m",
        ] {
            assert_eq!(text.parse::<ServerUrl>().map(|url| url.to_string()), Ok(text.to_owned()));
        }
        for (text, reason) in [
            ("http://a:1/m", "not known"),
            ("a:1/m", "no address"),
            ("oip+grpc://a/m", "host:port"),
            ("oip+grpc://a:1", "no model"),
            ("oip+grpc://a:1/m/1/2", "more than"),
            ("oip+grpc://a:1/m?signature=x", "not known"),
            ("tfs+grpc://a:1/m/two", "no version"),
            ("oip+http://a:1/m%2f..", "no model"),
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_all_named() {
        assert_eq!(ServerSettings::default().faults(), Vec::<String>::new());
        let circuit = CircuitSettings { failures: 11, probes: 0, ..CircuitSettings::default() };
        let settings = ServerSettings { deadline: Duration::ZERO, circuit, ..ServerSettings::default() };
        assert_eq!(settings.faults().len(), 3, "{:?}", settings.faults());
        let start_timeout = Duration::ZERO;
        let faults = ServerSettings { start_timeout, ..ServerSettings::default() }.faults();
        assert_eq!(faults, ["start_timeout is 0: it must be above 0"]);
    }
}
