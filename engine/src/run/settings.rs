//! The settings of a job, as data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_state::{Changes, ClaimMode, DEFAULT_KEY_GROUPS, Rename, RestoreFrom, SPILLS};

use crate::checkpoint::leader::SHORTEST_EPOCH;
use crate::error::{JobError, Remedy};
use crate::time::whole_ms;

/// The settings of a job. In a file, durations are written as `1s` or `5m`, and names as on the command line,
/// where each field is a flag ([`JobArgs`](crate::JobArgs)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct JobSettings {
    /// Number of worker threads of this process. Default 1.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 1, value_name = "N", hide_default_value = true))]
    pub workers: usize,
    /// All processes of the job, each as `host:port`, in the same order in every process. Default: none, for a job
    /// of one process.
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', value_name = "HOST:PORT,…"))]
    pub hosts: Vec<String>,
    /// Index of this process among the hosts. Default 0, the first.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "INDEX", hide_default_value = true))]
    pub process: usize,
    /// Longest time that this process waits for the others when the job starts. Default 5 minutes.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "DURATION", hide_default_value = true))]
    pub mesh_timeout: Duration,
    /// Directory of the checkpoints, shared by all processes. Without it nothing survives the end of the job.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub checkpoint_dir: Option<PathBuf>,
    /// Length of an epoch, which is the time between two checkpoints; at least 20 ms. Default 1 second.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "DURATION", hide_default_value = true))]
    pub checkpoint_interval: Duration,
    /// Checkpoint to start from: auto (go on where the last run stopped, the default), none, an epoch, the path of a
    /// manifest, or a savepoint, by its name or its path. In a job of several processes, process 0 decides, and the
    /// others may leave it out.
    #[serde(with = "text")]
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            default_value = "auto",
            value_name = "auto|none|EPOCH|PATH|savepoint:NAME|savepoint:PATH",
            hide_default_value = true
        )
    )]
    pub restore: RestoreFrom,
    /// Whose the savepoint is that `restore` names: no-claim (the user's, and the job never deletes it, the default)
    /// or claim (the job's, and it is deleted once its files are the job's).
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value = "no-claim", value_name = "no-claim|claim", hide_default_value = true)
    )]
    pub claim_mode: ClaimMode,
    /// An operator, a source, a sink, or a state (operator/state) that is called OLD in the checkpoint and NEW in
    /// the program. It may be given several times, and may stay: it has no effect once a checkpoint has the new
    /// name.
    #[serde(with = "text::list")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "OLD=NEW"))]
    pub renamed: Vec<Rename>,
    /// State in the checkpoint that the program no longer declares and that may be discarded: all of an operator,
    /// a source or a sink, or one state. It may be given several times; a name that the checkpoint does not have
    /// is an error.
    #[cfg_attr(feature = "cli", arg(long, value_name = "OPERATOR[/STATE]"))]
    pub drop_state: Vec<String>,
    /// Number of checkpoints that are kept. Default 3.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 3, value_name = "N", hide_default_value = true))]
    pub retain_checkpoints: usize,
    /// Memory for keyed state over all workers of this process, in bytes (as a flag also `512MiB`). Beyond it,
    /// state is evicted to RocksDB on disk (feature `rocksdb`). Default: unlimited.
    #[cfg_attr(feature = "cli", arg(long, value_parser = parse_bytes, value_name = "BYTES"))]
    pub state_memory: Option<u64>,
    /// Directory in which RocksDB works when there is no checkpoint directory. Default: a temporary directory.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub state_dir: Option<PathBuf>,
    /// Number of records that may be in flight in this process before sources wait. Default 100,000.
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value_t = 100_000, value_name = "RECORDS", hide_default_value = true)
    )]
    pub max_in_flight: usize,
    /// How far a source may be ahead of the slowest one in event time (watermark alignment). Without it, sources
    /// that are ahead wait only while at least a tenth of `max_in_flight` records wait for the watermark.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", arg(long, value_parser = humantime::parse_duration, value_name = "DURATION"))]
    pub max_drift: Option<Duration>,
    /// How far an event time may be ahead of the clock. A record that is further in the future becomes a dead
    /// letter and moves no watermark. Without it, one event in the future makes all records that follow late.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", arg(long, value_parser = humantime::parse_duration, value_name = "DURATION"))]
    pub max_ahead: Option<Duration>,
    /// Number of key groups, the units in which keys are placed on workers; fixed for the life of a job's
    /// checkpoints. Default 128.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = DEFAULT_KEY_GROUPS, value_name = "N", hide_default_value = true))]
    pub key_groups: u16,
    /// How long a turn of an operator, or a batch of a model, may take before it is logged as a warning; at most one
    /// line of each kind in ten seconds for an operator and worker. Default: none, nothing is logged.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", arg(long, value_parser = humantime::parse_duration, value_name = "DURATION"))]
    pub slow_batch: Option<Duration>,
    /// Address of a collector of OpenTelemetry that takes OTLP over HTTP, e.g. http://localhost:4318: spans of epochs, of
    /// calls to model servers and of what sinks publish are sent there (feature `otlp`). Default: the variable
    /// OTEL_EXPORTER_OTLP_ENDPOINT, or else none.
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL"))]
    pub otlp_endpoint: Option<String>,
    /// Address at which the status page, `/status` and `/metrics` are served, e.g. 127.0.0.1:9090 (feature
    /// `http`). Default: none.
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS"))]
    pub http: Option<SocketAddr>,
    /// File with the token that a request over HTTP needs to change something, and beyond loopback for anything; at
    /// least 16 characters. Default: the variable TIDEMILL_HTTP_TOKEN, or else a token that is drawn at the start and
    /// written to `http-token` in the checkpoint directory.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub http_token_file: Option<PathBuf>,
    /// Names under which the job is served, apart from IP addresses and `localhost`. Requests for another name are
    /// refused.
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', value_name = "NAME,…"))]
    pub http_names: Vec<String>,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            hosts: Vec::new(),
            process: 0,
            mesh_timeout: Duration::from_secs(300),
            checkpoint_dir: None,
            checkpoint_interval: Duration::from_secs(1),
            restore: RestoreFrom::Auto,
            claim_mode: ClaimMode::NoClaim,
            renamed: Vec::new(),
            drop_state: Vec::new(),
            retain_checkpoints: 3,
            state_memory: None,
            state_dir: None,
            max_in_flight: 100_000,
            max_drift: None,
            max_ahead: None,
            key_groups: DEFAULT_KEY_GROUPS,
            slow_batch: None,
            otlp_endpoint: None,
            http: None,
            http_token_file: None,
            http_names: Vec::new(),
        }
    }
}

impl JobSettings {
    const MIN_INTERVAL: Duration = SHORTEST_EPOCH;

    /// Checks the settings before anything is started.
    ///
    /// # Errors
    /// When anything cannot work; the error names all faults at once.
    pub fn check(&self) -> Result<(), JobError> {
        let mut faults: Vec<(&'static str, String)> = Vec::new();
        if self.workers == 0 {
            faults.push(("workers", "workers is 0: a process needs at least one".to_owned()));
        }
        if !self.hosts.is_empty() && self.process >= self.hosts.len() {
            let hosts = self.hosts.len();
            let reason = format!("process is {}, but hosts names {hosts} (0 to {})", self.process, hosts - 1);
            faults.push(("process", reason));
        }
        if self.hosts.is_empty() && self.process > 0 {
            faults.push(("hosts", format!("process is {}, but hosts names none", self.process)));
        }
        if self.checkpoint_interval < Self::MIN_INTERVAL {
            let (is, least) = (self.checkpoint_interval, Self::MIN_INTERVAL);
            let (is, least) = (humantime::format_duration(is), humantime::format_duration(least));
            faults.push(("checkpoint_interval", format!("checkpoint_interval is {is}, the minimum is {least}")));
        }
        if self.max_in_flight == 0 {
            faults.push(("max_in_flight", "max_in_flight is 0: no source could ever read".to_owned()));
        }
        if usize::from(self.key_groups) < self.all_workers() {
            let (groups, workers) = (self.key_groups, self.all_workers());
            let reason =
                format!("key_groups is {groups}, fewer than the {workers} workers: some would never get a key");
            faults.push(("key_groups", reason));
        }
        if self.mesh_timeout.is_zero() {
            faults.push(("mesh_timeout", "mesh_timeout is 0s: no other process could ever connect".to_owned()));
        }
        if self.state_memory == Some(0) {
            faults.push(("state_memory", "state_memory is 0: no key could ever be in memory".to_owned()));
        }
        for (field, length) in [("max_drift", self.max_drift), ("max_ahead", self.max_ahead)] {
            if let Some(Err(fault)) = length.map(whole_ms) {
                faults.push((field, format!("{field} is {fault}")));
            }
        }
        let renamed = self.renamed.iter().filter_map(|rename| rename.check().err());
        faults.extend(renamed.map(|fault| ("renamed", format!("renamed: {fault}"))));
        if self.retain_checkpoints == 0 {
            let reason = "retain_checkpoints is 0: the newest one has to be kept".to_owned();
            faults.push(("retain_checkpoints", reason));
        }
        refuse(faults)
    }

    /// Refuses settings that need a feature which this program is built without.
    pub(crate) fn check_build(&self) -> Result<(), JobError> {
        let wants = [
            ("state_memory", self.state_memory.is_some(), SPILLS, "rocksdb"),
            ("http", self.http.is_some(), cfg!(feature = "http"), "http"),
            ("otlp_endpoint", self.otlp_endpoint.is_some(), cfg!(feature = "otlp"), "otlp"),
            ("http_token_file", self.http_token_file.is_some(), cfg!(feature = "http"), "http"),
        ];
        let missing = wants.into_iter().filter(|(_, wanted, there, _)| *wanted && !there);
        let fault = |(field, _, _, feature): (&'static str, bool, bool, &str)| {
            let reason =
                format!("{field} is set, which this program is built without: build it with the feature \"{feature}\"");
            (field, reason)
        };
        refuse(missing.map(fault).collect())
    }

    pub(crate) fn changes(&self) -> Changes {
        Changes { renamed: self.renamed.clone(), dropped: self.drop_state.clone() }
    }

    /// Returns the number of workers over all processes.
    #[must_use]
    pub fn all_workers(&self) -> usize {
        self.workers.saturating_mul(self.processes())
    }

    /// Returns the number of processes: without hosts there is one.
    pub(crate) fn processes(&self) -> usize {
        self.hosts.len().max(1)
    }

    /// Returns the index, among all workers, of the first one of this process.
    pub(crate) fn first_worker(&self) -> usize {
        self.process * self.workers
    }
}

/// Returns an error if there are faults. Each fault has a field and what is wrong with it.
fn refuse(faults: Vec<(&'static str, String)>) -> Result<(), JobError> {
    if faults.is_empty() {
        return Ok(());
    }
    let (mut fields, reasons): (Vec<&'static str>, Vec<String>) = faults.into_iter().unzip();
    fields.dedup();
    let remedies: Vec<Remedy> = fields.into_iter().map(Remedy::Setting).collect();
    Err(JobError::setting(reasons.join("\n"), remedies))
}

/// Parses a number of bytes: `1024`, `64KiB`, `512MiB`, `2GiB`; also `K`, `M`, `G` for the same powers of 1024.
#[cfg(feature = "cli")]
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        other => return Err(format!("unknown unit \"{other}\": use KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a number of bytes"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("\"{text}\" is too large"))
}

/// Serialization of values as text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }

    pub(super) mod list {
        use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

        pub(in super::super) fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq(values.iter().map(ToString::to_string))
        }

        pub(in super::super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<T>, D::Error> {
            let texts = Vec::<String>::deserialize(from)?;
            texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn all_faults_are_named_at_once() {
        let settings = JobSettings { workers: 0, process: 3, max_in_flight: 0, ..JobSettings::default() };
        let error = settings.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string().lines().count(), 3, "{error}");
        assert_eq!(error.remedies(), ["workers", "hosts", "max_in_flight"].map(Remedy::Setting));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name_and_value() {
        let default = JobSettings::default;
        let beyond = Duration::from_secs(u64::MAX);
        for (field, settings, says) in [
            ("workers", JobSettings { workers: 0, ..default() }, "workers is 0"),
            ("key_groups", JobSettings { key_groups: 0, ..default() }, "key_groups is 0"),
            ("key_groups", JobSettings { workers: usize::MAX, ..default() }, "key_groups is 128"),
            ("max_in_flight", JobSettings { max_in_flight: 0, ..default() }, "max_in_flight is 0"),
            ("retain_checkpoints", JobSettings { retain_checkpoints: 0, ..default() }, "retain_checkpoints is 0"),
            ("mesh_timeout", JobSettings { mesh_timeout: Duration::ZERO, ..default() }, "mesh_timeout is 0s"),
            ("state_memory", JobSettings { state_memory: Some(0), ..default() }, "state_memory is 0"),
            (
                "checkpoint_interval",
                JobSettings { checkpoint_interval: Duration::ZERO, ..default() },
                "checkpoint_interval is 0s",
            ),
            (
                "max_ahead",
                JobSettings { max_ahead: Some(beyond), ..default() },
                "max_ahead is 18446744073709551615s, which is longer than all of event time",
            ),
            (
                "max_drift",
                JobSettings { max_drift: Some(Duration::from_micros(1_500)), ..default() },
                "max_drift is 1.5ms, but event time has whole milliseconds",
            ),
        ] {
            let error = settings.check().expect_err(field);
            assert_eq!((error.kind(), error.remedies()), (ErrorKind::Invalid, vec![Remedy::Setting(field)]));
            assert!(error.to_string().starts_with(says), "{error}");
        }
        let settings = JobSettings { max_ahead: Some(Duration::ZERO), max_drift: Some(Duration::ZERO), ..default() };
        assert!(settings.check().is_ok(), "zero is a bound like others");
    }

    #[test]
    #[cfg(feature = "cli")]
    fn bytes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("7"), Ok(7));
        assert!(parse_bytes("12 parsecs").is_err());
        assert!(parse_bytes("99999999999999999999").is_err());
    }

    #[test]
    fn settings_are_data() {
        let settings = JobSettings {
            restore: RestoreFrom::Epoch(7),
            renamed: vec![Rename { old: "a".to_owned(), new: "b".to_owned() }],
            max_drift: Some(Duration::from_secs(90)),
            ..JobSettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert!(
            json.contains(r#""restore":"7","claim_mode":"no-claim","renamed":["a=b"]"#)
                && json.contains(r#""max_drift":"1m 30s""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<JobSettings>(&json).unwrap(), settings);
        assert_eq!(serde_json::from_str::<JobSettings>("{}").unwrap(), JobSettings::default());
        assert!(serde_json::from_str::<JobSettings>(r#"{"worker":2}"#).is_err(), "a field that does not exist");
    }
}
