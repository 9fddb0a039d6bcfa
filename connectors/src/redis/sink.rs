//! The Redis sink: the checks before anything is written, and the rows of an epoch.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::sink::{Failing, LeaderIncarnation, Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill_engine::{ConnectorError, Data, Epoch, ErrorKind, Record, Remedy};

use super::check;
use super::encode::{RedisWrite, RowEncoder};
use super::rows;
use super::server::RedisServer;
use super::target::{ANSWER, RedisTarget};
use super::url::RedisUrl;
use crate::outbox::{self, EpochRows, LostMarker, Outbox, Publisher, within};
use crate::retry::{Failure, retried};

/// Maximum number of bytes of a batch, unless another one is set.
const BATCH_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).expect("it is not zero");

/// A sink that writes records to keys of Redis.
///
/// * Shapes: a record is a struct; its key is a template of its fields (`card:{id}`), and [`RedisWrite`] says what is written
///   to it.
/// * Order: records of one worker are written in order. Of those that set the same key (for a sorted set: the same member), an
///   epoch writes the last one only.
/// * Guarantee: exactly once, given a checkpoint directory, as far as the server keeps what it has confirmed. A script writes
///   the rows of an epoch and worker when the epoch is committed, and moves a marker, a hash `tidemill:marker:…`, by which a
///   restart knows what is written. An epoch of more than [`batch_bytes`](Self::batch_bytes) is written by several scripts,
///   and becomes visible batch by batch.
/// * Errors: a record without the fields that the key needs, and a server that may evict the marker, is a node of a cluster,
///   or does not let the user in, are refused at the start. A record whose key or score is null or no number, and a key that
///   holds another type, stop the job, with the field or the key.
#[derive(Debug)]
pub struct RedisSink<T> {
    settings: Settings,
    record: PhantomData<fn(T)>,
}

#[derive(Clone, Debug)]
struct Settings {
    server: RedisServer,
    key: String,
    write: RedisWrite,
    marker: Option<String>,
    batch_bytes: NonZeroUsize,
    patience: Duration,
    lost_marker: LostMarker,
}

/// The identity of the output in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TokenHead {
    marker: String,
    worker: usize,
    /// Number of workers of the run, each of which has a marker.
    workers: usize,
    /// The type of the keys.
    kind: String,
    /// The epoch that this worker staged before, or from which the run went on.
    previous: Epoch,
}

impl<T: Data> RedisSink<T> {
    /// Returns a sink that writes each record to the key that this template makes of it: `card:{id}` is `card:` and the field
    /// `id`. `{{` and `}}` stand for braces.
    ///
    /// Records that set the same key must come from one worker, as they do from a keyed stream with that key: of those of two
    /// workers, any may be the last.
    pub fn new(server: RedisServer, key: impl Into<String>, write: RedisWrite) -> Self {
        let settings = Settings {
            server,
            key: key.into(),
            write,
            marker: None,
            batch_bytes: BATCH_BYTES,
            patience: Duration::from_mins(5),
            lost_marker: LostMarker::Refuse,
        };
        Self { settings, record: PhantomData }
    }

    /// Returns the sink that a URL describes.
    #[must_use]
    pub fn from_url(url: &RedisUrl) -> Self {
        let RedisUrl { server, key, write, marker, batch_bytes } = url.clone();
        let mut sink = Self::new(server, key, write);
        sink.settings.marker = marker;
        sink.settings.batch_bytes = batch_bytes.unwrap_or(BATCH_BYTES);
        sink
    }

    /// Sets the name of the sink's markers. It must be the same at every start of the job, and no other job may use it in
    /// this database. Default: the template of the key and the name of the sink, `card:{id}.out`; of Feast's layout its project
    /// and view in place of the key, `demo:stats.out`.
    #[must_use]
    pub fn marker(mut self, name: impl Into<String>) -> Self {
        self.settings.marker = Some(name.into());
        self
    }

    /// Sets how many bytes of rows a script writes at most, if they are several. The server does nothing else meanwhile.
    /// Default: 1 MiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.settings.batch_bytes = bytes;
        self
    }

    /// Sets how long the server may be unreachable, give no answer, have no memory left or be a replica before the job stops.
    /// Nothing is lost when it stops. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Sets what a restart does when it finds staged output without its marker, or a marker that is behind what the server
    /// had confirmed. Default: it stops.
    #[must_use]
    pub fn lost_marker(mut self, lost_marker: LostMarker) -> Self {
        self.settings.lost_marker = lost_marker;
        self
    }
}

impl Settings {
    fn marker(&self, sink: &str) -> String {
        self.marker.clone().unwrap_or_else(|| match &self.write {
            // Views often have the same entities.
            RedisWrite::Feast { project, view, .. } => format!("{project}:{view}.{sink}"),
            _ => format!("{}.{sink}", self.key),
        })
    }

    /// Returns the target of outboxes whose output the server has confirmed up to an epoch.
    fn target(&self, kind: &str, confirmed: BTreeMap<Outbox, Epoch>) -> Arc<RedisTarget> {
        Arc::new(RedisTarget {
            server: self.server.clone(),
            kind: kind.to_owned(),
            batch_bytes: self.batch_bytes.get(),
            confirmed: Mutex::new(confirmed),
        })
    }

    fn encoder<T: Data>(&self) -> Result<RowEncoder, ConnectorError> {
        RowEncoder::new::<T>(&self.key, &self.write).map_err(|reason| {
            let message = format!("the sink of \"{}\" in {} cannot work: {reason}", self.key, self.server);
            ConnectorError::new(ErrorKind::Invalid, message)
        })
    }

    /// Refuses a server that cannot be written to exactly once. `warns` is whether it is said what it may lose.
    fn check_server(&self, failing: &Failing, warns: bool) -> Result<(), ConnectorError> {
        let what = format!("look at what {} is", self.server);
        retried(self.patience, &what, failing, |left| {
            let server = self.server.clone();
            let look = move || {
                let mut connection = server.connect(ANSWER)?;
                check::check(&server, &mut connection)?;
                if warns { check::warn_of_loss(&server, &mut connection) } else { Ok(()) }
            };
            within(left, &what, failing, look).map_err(Failure::Retry)?
        })
    }

    /// Without checkpoints a job starts anew each time, and its entries would be there twice.
    fn check(&self, context: &SinkContext) -> Result<(), ConnectorError> {
        if context.checkpoint_interval.is_some() {
            return Ok(());
        }
        let message = format!("the keys \"{}\" are written exactly once only with checkpoint_dir", self.key);
        Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::Setting("checkpoint_dir")))
    }
}

impl<T: Data> Sink for RedisSink<T> {
    type Item = T;
    type Writer = RedisWriter<T>;

    fn open(&self, context: SinkContext) -> Result<RedisWriter<T>, ConnectorError> {
        let settings = &self.settings;
        settings.check(&context)?;
        let encoder = settings.encoder::<T>()?;
        settings.check_server(&context.failing, false)?;
        let SinkContext { worker, workers, leader, failing, restored_epoch, .. } = context;
        let (marker, kind) = (settings.marker(&context.name), settings.write.kind().to_owned());
        let outbox = Outbox { name: marker.clone(), worker };
        // The recovery puts the marker there before the first record.
        let target = settings.target(&kind, BTreeMap::from([(outbox.clone(), restored_epoch)]));
        Ok(RedisWriter {
            encoder,
            rows: EpochRows::default(),
            key: settings.key.clone(),
            head: TokenHead { marker, worker, workers, kind, previous: restored_epoch },
            publisher: Arc::new(Publisher::new(target, outbox, settings.patience, failing)),
            leader,
            record: PhantomData,
        })
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        let settings = &self.settings;
        settings.check(context)?;
        // What cannot work is refused before anything is changed.
        settings.encoder::<T>()?;
        settings.check_server(&context.failing, true)?;
        let mut staged = outbox::Staged::new();
        let mut confirmed = BTreeMap::new();
        let mut kind = settings.write.kind().to_owned();
        let name = settings.marker(&context.name);
        staged.extend((0..context.workers).map(|worker| (Outbox { name: name.clone(), worker }, Vec::new())));
        for StagedToken { epoch, token } in tokens {
            let (head, rows) = outbox::decode::<TokenHead>("Redis", epoch, &token)?;
            rows::check(rows, || outbox::damaged(epoch, "is cut off"))?;
            // Each of the old workers has a marker, by which it is fenced.
            for worker in 0..head.workers {
                staged.entry(Outbox { name: head.marker.clone(), worker }).or_default();
            }
            let outbox = Outbox { name: head.marker, worker: head.worker };
            // What came before the first token was confirmed, or it would be a token, too.
            confirmed.entry(outbox.clone()).or_insert(head.previous);
            staged.entry(outbox).or_default().push((epoch, Arc::new(rows.to_vec())));
            // All of them are of one run.
            kind = head.kind;
        }
        if settings.lost_marker != LostMarker::Refuse {
            confirmed.clear();
        }
        let target = settings.target(&kind, confirmed);
        outbox::recover(&target, context, (settings.patience, settings.lost_marker), staged)
    }
}

/// The writer of one worker of a [`RedisSink`].
pub struct RedisWriter<T> {
    encoder: RowEncoder,
    rows: EpochRows,
    key: String,
    head: TokenHead,
    publisher: Arc<Publisher<RedisTarget>>,
    leader: LeaderIncarnation,
    record: PhantomData<fn(T)>,
}

impl<T: Data> SinkWriter for RedisWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        let mut row = Vec::new();
        let replaced = self.encoder.write(&record.data, record.event_time, &mut row).map_err(|reason| {
            let message =
                format!("a record cannot be written to the key \"{}\": {reason}: {:?}", self.key, record.data);
            ConnectorError::new(ErrorKind::Data, message)
        })?;
        match replaced {
            Some(key) => self.rows.replace(key, row),
            None => self.rows.appended().extend(row),
        }
        Ok(())
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let rows = self.rows.take();
        if rows.is_empty() {
            return Ok(None);
        }
        let token = outbox::encode(&self.head, &[&rows])?;
        self.head.previous = epoch;
        let (publisher, leader, rows) = (Arc::clone(&self.publisher), self.leader.clone(), Arc::new(rows));
        let publish = move || {
            let unknown =
                || ConnectorError::new(ErrorKind::Internal, "an epoch is committed before the first one has begun");
            publisher.publish(leader.get().ok_or_else(unknown)?, epoch, &rows)
        };
        // The token contains the rows, which are therefore durable when the delta is.
        Ok(Some(Staged { token, flush: Box::new(|| Ok(())), publish: Box::new(publish) }))
    }
}
