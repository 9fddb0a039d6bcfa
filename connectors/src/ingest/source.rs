//! The HTTP source and its settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::source::{Source, SourceContext};
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime, Remedy};

use super::bound::BoundAddress;
use super::position;
use super::reader::HttpReader;
use super::records::{Decode, EventTimeOf, HttpRecord};
use super::settings::Settings;
use super::url::IngestUrl;
use crate::event_times::{event_time_settings, event_time_statements};
use crate::malformed::MaxMalformed;
use crate::password::Password;

/// A source of records of type `T` that other programs POST to this one.
///
/// * Time, order: the event time of a record is that of [`event_time`](Self::event_time), or else the time at which it was
///   read. The watermark is the greatest event time seen minus [`max_out_of_orderness`](Self::max_out_of_orderness). Records of a
///   request keep their order; requests have one only if a caller waits for each answer.
/// * Guarantee: 200 is answered when the epoch that has the records of the request is committed, so they outlive any crash. A
///   caller that gets no answer, or 503, repeats the request: then its records may be there twice, unless it has an
///   `Idempotency-Key`, by which it is recognised, also after a crash of the job.
/// * A request whose records cannot all be decoded is refused with 400, or has dead letters ([`accept_malformed`](Self::accept_malformed)).
/// * The first worker of the job listens and reads. A job without a checkpoint directory is refused, since nothing of it is durable.
pub struct HttpSource<T> {
    settings: Settings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
    bound: BoundAddress,
}

impl<T: Data> HttpSource<T> {
    /// Returns a source that takes requests to `path` at `address` (`127.0.0.1:9091`; port 0: the system chooses one). `decode` turns
    /// what they have into records ([`json`](super::json), [`raw`](super::raw), or a function); its error is the reason why a
    /// request is refused.
    pub fn new(
        address: impl Into<String>,
        path: impl Into<String>,
        decode: impl Fn(HttpRecord<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Settings::new(address.into(), path.into()), decode)
    }

    /// Returns the source that a URL describes.
    #[must_use]
    pub fn at(url: &IngestUrl, decode: impl Fn(HttpRecord<'_>) -> Result<T, String> + Send + Sync + 'static) -> Self {
        Self::of(url.settings().clone(), decode)
    }

    fn of(settings: Settings, decode: impl Fn(HttpRecord<'_>) -> Result<T, String> + Send + Sync + 'static) -> Self {
        Self { settings, decode: Arc::new(decode), event_time: None, bound: BoundAddress::default() }
    }

    /// Returns where it listens, once it does.
    #[must_use]
    pub fn bound_address(&self) -> BoundAddress {
        self.bound.clone()
    }

    /// Sets the function that returns the event time of a record. Default: the time at which the record was read.
    #[must_use]
    pub fn event_time(mut self, of: impl Fn(&T) -> EventTime + Send + Sync + 'static) -> Self {
        self.event_time = Some(Arc::new(of));
        self
    }

    /// Takes only requests with `Authorization: Bearer TOKEN`, and has the token read from the first line of a file at the start: 16
    /// characters and more.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.token = Password::File(path.into());
        self
    }

    /// Takes only requests with `Authorization: Bearer TOKEN`, and has the token read from an environment variable at the start.
    #[must_use]
    pub fn token_variable(mut self, variable: impl Into<String>) -> Self {
        self.settings.token = Password::Variable(variable.into());
        self
    }

    /// Takes only requests that are signed as of Standard Webhooks, by the secret on the first line of a file: `whsec_` and base64. Their
    /// `webhook-id` is their idempotency key.
    #[must_use]
    pub fn secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.signing = Password::File(path.into());
        self
    }

    /// Takes only requests that are signed as of Standard Webhooks, by the secret in an environment variable.
    #[must_use]
    pub fn secret_variable(mut self, variable: impl Into<String>) -> Self {
        self.settings.signing = Password::Variable(variable.into());
        self
    }

    /// Lets others than this machine send without a token or a signature, and under any name of this machine.
    #[must_use]
    pub fn open_to_all(mut self) -> Self {
        self.settings.open_to_all = true;
        self
    }

    /// Sets how many bytes a request may have, packed and unpacked. Default: 8 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_request_bytes = bytes;
        self
    }

    /// Sets how many records a request may have. They are handed out at once. Default: 10,000.
    #[must_use]
    pub fn max_request_records(mut self, records: usize) -> Self {
        self.settings.max_request_records = records;
        self
    }

    /// Sets how many bytes of requests may be in memory: those that are being received, and those that wait to be read. Beyond that,
    /// requests are answered with 503. Default: 64 MiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_queued_bytes = bytes;
        self
    }

    /// Sets how many connections may be open, and so how many requests wait for their commit. Beyond that, requests are answered
    /// with 503. Default: 512.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// Sets how long a request waits for its commit before it is answered with 503. Default: 30 s.
    #[must_use]
    pub fn answer_within(mut self, time: Duration) -> Self {
        self.settings.answer_within = time;
        self
    }

    /// Sets how many idempotency keys are remembered, the last ones, and for how long. Each checkpoint has them, with 32 bytes each.
    /// Default: 65,536, 24 hours.
    #[must_use]
    pub fn remembered_keys(mut self, keys: usize, time: Duration) -> Self {
        (self.settings.remembered_keys, self.settings.remembered_for) = (keys, time);
        self
    }

    /// Takes requests with records that cannot be decoded, which become dead letters, and sets when they stop the job. Default: such a
    /// request is refused with 400, and nothing of it is taken.
    #[must_use]
    pub fn accept_malformed(mut self, limit: MaxMalformed) -> Self {
        self.settings.malformed = Some(limit);
        self
    }

    event_time_settings!("");

    /// Sets the time after which the source is idle if no record has come. The watermark does not wait for an idle source. Default:
    /// 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }
}

impl<T: Data> Source for HttpSource<T> {
    type Item = T;
    type Reader = HttpReader<T>;

    event_time_statements!();

    fn open(&self, context: SourceContext) -> Result<HttpReader<T>, ConnectorError> {
        self.settings.check()?;
        if context.checkpoint_interval.is_none() {
            let message = "requests are answered when their epoch is committed, which needs checkpoint_dir";
            return Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::Setting("checkpoint_dir")));
        }
        let restored = position::merge(&context.restored)?;
        let (decode, event_time) = (Arc::clone(&self.decode), self.event_time.clone());
        HttpReader::open(&self.settings, decode, event_time, restored, &self.bound, &context)
    }
}
