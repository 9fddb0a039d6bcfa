//! The webhook sink: its settings, the checks before anything is written, and what a restart sends again.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_engine::locks::lock;
use tidemill_engine::sink::{Sink, SinkContext, StagedToken};
use tidemill_engine::{ConnectorError, Data, ErrorKind, Remedy, crash};

use super::courier::{Courier, TokenHead};
use super::header::{Header, Value};
use super::requests;
use super::settings::{Format, Settings};
use super::url::WebhookUrl;
use super::writer::WebhookWriter;
use crate::outbox;
use crate::password::Password;

/// A sink that sends records to an HTTP server, by POST.
///
/// * Shapes: a record is JSON, one for each request, unless [`json_array`](Self::json_array) or
///   [`json_lines`](Self::json_lines) is set. NaN is `null`.
/// * Order: the requests of one worker are sent one after the other, in the order of its records: a request is answered before
///   the next one is sent.
/// * Guarantee: at least once, given a checkpoint directory. A request is sent when its epoch is committed, and again when no
///   answer came or after a crash, always with the same body under the same `Idempotency-Key`, by any number of workers. No two
///   requests with different bodies have the same key.
/// * Errors: what cannot work is refused at the start. A request that the target refuses (4xx) is a dead letter if
///   [`dead_letters`](Self::dead_letters) is set, and stops the job otherwise. A target that does not answer is tried for
///   [`patience`](Self::patience).
pub struct WebhookSink<T> {
    settings: Settings,
    /// The courier of the first worker, which has sent what the checkpoint staged.
    first: Mutex<Option<Arc<Courier>>>,
    record: PhantomData<fn(T)>,
}

impl<T> std::fmt::Debug for WebhookSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<T: Data> WebhookSink<T> {
    /// Returns a sink that sends to this URL, `https://…` or `http://…`. It is never shown but for scheme, host and port.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::with(Settings::new(url))
    }

    /// Returns the sink that a URL describes.
    #[must_use]
    pub fn from_url(url: &WebhookUrl) -> Self {
        Self::with(url.settings().clone())
    }

    fn with(settings: Settings) -> Self {
        Self { settings, first: Mutex::default(), record: PhantomData }
    }

    fn add_header(&mut self, name: impl Into<String>, value: Value) {
        self.settings.headers.push(Header { name: name.into(), value });
    }

    /// Adds a header to each request. One that the sink itself sets is refused.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.add_header(name, Value::Given(value.into()));
        self
    }

    /// Adds a header whose value is the first line of a file. It is read at the start, and again when the target has answered
    /// 401 or 403.
    #[must_use]
    pub fn header_file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.add_header(name, Value::Secret(Password::File(path.into())));
        self
    }

    /// Adds a header whose value is that of an environment variable.
    #[must_use]
    pub fn header_variable(mut self, name: impl Into<String>, variable: impl Into<String>) -> Self {
        self.add_header(name, Value::Secret(Password::Variable(variable.into())));
        self
    }

    /// Has requests signed as of Standard Webhooks, with the secret on the first line of a file: `whsec_` and base64 of 24 to 64
    /// bytes. It is read as [`header_file`](Self::header_file) says. Default: requests are not signed.
    #[must_use]
    pub fn secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.signing = Password::File(path.into());
        self
    }

    /// The same, with the secret in an environment variable.
    #[must_use]
    pub fn secret_variable(mut self, variable: impl Into<String>) -> Self {
        self.settings.signing = Password::Variable(variable.into());
        self
    }

    /// Has the server's certificate verified by the authorities whose certificates, in PEM, are in this file. Default: by the
    /// system's.
    #[must_use]
    pub fn certificate_authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.certificate_authority = Some(path.into());
        self
    }

    /// Shows the server a certificate, with those that lead to its authority; the key is in PEM of PKCS #8. Default: none.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.settings.client_certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Has each request be a JSON array of at most so many records of one epoch. Default: one record, and no array.
    #[must_use]
    pub fn json_array(mut self, max_records: NonZeroUsize) -> Self {
        self.settings.format = Format::Array(max_records);
        self
    }

    /// Has each request be lines of JSON, at most so many records of one epoch. Default: one record.
    #[must_use]
    pub fn json_lines(mut self, max_records: NonZeroUsize) -> Self {
        self.settings.format = Format::Lines(max_records);
        self
    }

    /// Sets how many bytes the body of a request of several records has at most. Default: 1 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// Sets how long the answer to a request may take, connecting and reading it included. Default: 30 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// Sets for how long a request is tried again, while the target is unreachable, gives no answer, or answers 408, 409, 425, 429
    /// or 5xx, before the job stops. Nothing is lost when it stops. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Keeps requests that the target refuses in files in this folder, `{sink}-w{worker}.jsonl`, and goes on. Default: the job
    /// stops.
    #[must_use]
    pub fn dead_letters(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.dead_letters = Some(folder.into());
        self
    }

    /// Sets how many requests of a worker may be refused in a row before the job stops although there is a folder of dead letters.
    /// Default: 10.
    #[must_use]
    pub fn max_refused(mut self, in_a_row: NonZeroUsize) -> Self {
        self.settings.max_refused = in_a_row;
        self
    }

    /// Refuses what cannot work. Without checkpoints nothing would ever be committed, and so nothing sent.
    fn check(&self, context: &SinkContext) -> Result<(), ConnectorError> {
        let faults = self.settings.faults();
        if !faults.is_empty() {
            return Err(ConnectorError::new(ErrorKind::Invalid, faults.join("\n")));
        }
        if context.checkpoint_interval.is_some() {
            return Ok(());
        }
        let message = "requests are sent when their epoch is committed, which needs checkpoint_dir";
        Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::Setting("checkpoint_dir")))
    }

    fn courier(&self, context: &SinkContext) -> Result<Arc<Courier>, ConnectorError> {
        Courier::new(&self.settings, context).map(Arc::new)
    }

    fn warn_of_plain_text(&self) {
        let is_plain = self.settings.address.as_ref().is_ok_and(|address| !address.is_encrypted());
        if let (true, Some(header)) = (is_plain, self.settings.headers.first()) {
            tracing::warn!(header = header.name, "headers are sent in the clear: the URL is http://");
        }
    }
}

impl<T: Data> Sink for WebhookSink<T> {
    type Item = T;
    type Writer = WebhookWriter<T>;

    fn open(&self, context: SinkContext) -> Result<WebhookWriter<T>, ConnectorError> {
        self.check(&context)?;
        let first = if context.worker == 0 { lock(&self.first).take() } else { None };
        let courier = first.map_or_else(|| self.courier(&context), Ok)?;
        Ok(WebhookWriter::new(&self.settings, context, courier))
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        self.check(context)?;
        self.warn_of_plain_text();
        let courier = self.courier(context)?;
        let mut staged = Vec::new();
        for StagedToken { epoch, token } in tokens {
            let (head, bytes) = outbox::decode::<TokenHead>("webhook", epoch, &token)?;
            // Nothing is sent if a part of it is damaged.
            requests::all(bytes).ok_or_else(|| outbox::damaged(epoch, "is cut off"))?;
            staged.push((epoch, head, Arc::new(bytes.to_vec())));
        }
        for (epoch, head, bytes) in staged {
            tracing::info!(%epoch, worker = head.worker, "sending what the checkpoint staged");
            courier.deliver(&head, epoch, &bytes)?;
            crash::point("republished", context.restored_epoch, head.worker);
        }
        *lock(&self.first) = Some(courier);
        Ok(())
    }
}
