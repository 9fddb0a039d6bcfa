//! The Kinesis source and its builder.

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::sink::Failing;
use tidemill_engine::source::{Source, SourceContext};
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime};

use super::api::{Api, Shard, Summary, Trouble};
use super::board::Board;
use super::lanes::{Lanes, described};
use super::lineage::Lineage;
use super::message::{Decode, EventTimeOf, KinesisRecord};
use super::pool::Pool;
use super::position::{self, Origin, Place, Places, Read};
use super::reader::{KinesisReader, Reading};
use super::settings::{LostRecords, SourceSettings, Start};
use super::url::KinesisUrl;
use crate::aws::Endpoint;
use crate::event_times::{event_time_settings, event_time_statements};
use crate::malformed::MaxMalformed;
use crate::retry::{Failure, retried};

/// Maximum time until the service has first answered: a wrong address is reported soon.
const ASK: Duration = Duration::from_secs(30);
/// The time of the service is known to a second, so a start at the present is this much before it.
const EXACT: i64 = 1000;

/// A source that reads records of type `T` from a stream of Amazon Kinesis.
///
/// * Time, order: the event time of a record is that of [`event_time`](Self::event_time), or else the time at which the service
///   received it. The watermark of a shard is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness); that of the source is the least over the shards that are not idle.
///   The records of a partition key keep their order, also when the stream is split and merged.
/// * Guarantee: positions are exact. After a restore each record is read once, by any number of workers. Records that expire
///   before they are read stop the job, or are accepted as lost ([`lost_records`](Self::lost_records)).
/// * A record that cannot be decoded becomes a dead letter with stream, shard, sequence number and reason.
///
/// Credentials are found as AWS's own programs find them: environment, web identity, profile, container, instance.
pub struct KinesisSource<T> {
    settings: SourceSettings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
}

impl<T: Data> KinesisSource<T> {
    /// Returns a source that reads the stream of this name in a region (`eu-west-1`). `decode` turns records of the stream into
    /// those of the job ([`json`](super::json), [`raw`](super::raw), or a function); its error is the reason of a dead letter.
    pub fn new(
        region: impl Into<String>,
        stream: impl Into<String>,
        decode: impl Fn(KinesisRecord<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: SourceSettings::new(region, stream), decode: Arc::new(decode), event_time: None }
    }

    /// Returns the source that a URL describes.
    pub fn at(
        url: &KinesisUrl,
        decode: impl Fn(KinesisRecord<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: url.settings().clone(), decode: Arc::new(decode), event_time: None }
    }

    /// Sets the address of the service, `https://host[:port]`, if it is not the region's: an endpoint of a private network, or
    /// an emulator.
    #[must_use]
    pub fn endpoint(mut self, url: &str) -> Self {
        self.settings.endpoint = Endpoint::parse(url);
        self
    }

    /// Sets where a job without a checkpoint begins to read. Default: [`Start::TrimHorizon`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// Sets what happens when records may have expired before they were read. Default: the job stops.
    #[must_use]
    pub fn lost_records(mut self, policy: LostRecords) -> Self {
        self.settings.lost_records = policy;
        self
    }

    /// Sets the function that returns the event time of a record. Default: the time at which the service received it.
    #[must_use]
    pub fn event_time(mut self, of: impl Fn(&T) -> EventTime + Send + Sync + 'static) -> Self {
        self.event_time = Some(Arc::new(of));
        self
    }

    /// Sets the time between two reads of a shard. All consumers of a stream together have five reads a second of each shard:
    /// where there are several, each of them should read less often. Default, and minimum: 200 ms.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// Sets how often the shards are listed; they are also listed whenever one ends. Default: every 30 s.
    #[must_use]
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.settings.discovery = interval;
        self
    }

    /// Sets for how long the service may give no answer, or refuse reads because there are too many, before the job stops. At
    /// the start, half a minute at most. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.settings.patience = time;
        self
    }

    /// Sets how many bytes of records may wait in memory for each worker; each shard may exceed its part of it by one answer (10
    /// MiB at most). Default: 64 MiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_queued_bytes = bytes;
        self
    }

    event_time_settings!("of its shard ");

    /// Sets the time after which a shard is idle: nothing was read from it for this long, and the service has said that there is
    /// no more. The watermark does not wait for idle shards. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }

    /// Sets when malformed records stop the job: at a total, at a share of the records read last, at either of them, or never.
    /// Default: [`MaxMalformed::default`].
    #[must_use]
    pub fn max_malformed(mut self, limit: MaxMalformed) -> Self {
        self.settings.max_malformed = limit;
        self
    }
}

impl<T: Data> Source for KinesisSource<T> {
    type Item = T;
    type Reader = KinesisReader<T>;

    event_time_statements!();

    fn open(&self, context: SourceContext) -> Result<KinesisReader<T>, ConnectorError> {
        let settings = self.settings.clone();
        let endpoint = settings.check()?;
        let api = Api::new(endpoint, &settings.region, &settings.stream, context.clock.clone());
        let (summary, shards) = ask(&api, settings.patience.min(ASK))?;
        let identity = summary.identity.clone();
        let restored = position::merge(&context.restored, &identity)?;
        let now = api.now();
        let (origin, places) = match restored {
            Some(stored) => (stored.origin, stored.shards),
            None => fresh(settings.start, now, &shards),
        };
        let mut lineage = Lineage::new(context.worker, context.workers);
        lineage.update(shards);
        let board = Board::join(&format!("{} {} {}", context.name, identity.arn, identity.created), context.worker);
        let pool = Pool::start(api, settings.clone(), origin, summary, context.waker.clone(), &context.metrics)?;
        if context.worker == 0 {
            check_restored(&settings.stream, &places, &lineage, &pool)?;
        }
        let (stream, metrics) = (&settings.stream, Arc::clone(&context.metrics));
        let lanes = Lanes::new(stream, settings.max_out_of_orderness, lineage, places, (board, pool, metrics));
        let reading = Reading {
            stream: settings.stream,
            decode: Arc::clone(&self.decode),
            event_time: self.event_time.clone(),
            max_malformed: settings.max_malformed,
            idle_after: settings.idle_after,
        };
        Ok(KinesisReader::new(identity, origin, lanes, reading, &context))
    }
}

/// Asks for the stream and its shards.
fn ask(api: &Api, patience: Duration) -> Result<(Summary, Vec<Shard>), ConnectorError> {
    let failed = |trouble| match trouble {
        Trouble::Refused(error) => Failure::Fatal(error),
        Trouble::Throttled(reason) | Trouble::Later(reason) | Trouble::Iterator(reason) => {
            Failure::Retry(ConnectorError::new(ErrorKind::Unavailable, reason))
        }
    };
    let what = format!("reach Kinesis for stream \"{}\"", api.stream());
    retried(patience, &what, &Failing::default(), |_| {
        let summary = api.summary().map_err(failed)?;
        Ok((summary, api.shards().map_err(failed)?))
    })
}

/// Returns where a job without a checkpoint begins, and the shards that it leaves out.
fn fresh(start: Start, now: i64, shards: &[Shard]) -> (Origin, Places) {
    match start {
        Start::TrimHorizon => (Origin::TrimHorizon, Places::new()),
        Start::Timestamp(EventTime(at)) => (Origin::Timestamp(at), Places::new()),
        Start::Latest => {
            // A closed shard has nothing that is new.
            let ended = Place { read: Read::Ended, read_until: Some(now), watermark: i64::MIN, quiet_since: 0 };
            let closed = shards.iter().filter(|shard| shard.closed);
            let places = closed.map(|shard| (shard.id.clone(), ended.clone())).collect();
            (Origin::Timestamp(now - EXACT), places)
        }
    }
}

/// Checks that the stream still has all shards that were being read.
fn check_restored(stream: &str, places: &Places, lineage: &Lineage, pool: &Pool) -> Result<(), ConnectorError> {
    let open = places.iter().filter(|(id, place)| place.read != Read::Ended && lineage.listed(id).is_none());
    for (id, place) in open {
        pool.missed(&format!(
            "in the checkpoint {stream}/{id} was {}, and the stream no longer has it: records have expired unread",
            described(&place.read)
        ))?;
    }
    Ok(())
}
