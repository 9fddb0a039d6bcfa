//! The source of streams and its builder.

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::metrics::Counter;
use tidemill_engine::source::{Source, SourceContext};
use tidemill_engine::{ConnectorError, Data, EventTime};

use super::super::server::RedisServer;
use super::ask;
use super::entry::{Decode, EventTimeOf, StreamEntry};
use super::poller::judge;
use super::position::{self, StreamPosition, Streams};
use super::progress::{Known, Place};
use super::reader::{Opened, RedisStreamReader};
use super::settings::{LostEntries, Settings, StreamStart};
use super::url::RedisStreamUrl;
use crate::event_times::{event_time_settings, event_time_statements};
use crate::malformed::MaxMalformed;
use crate::retry::{Failure, retried_unless};

/// Maximum time that a start waits for the server.
const START: Duration = Duration::from_secs(30);
/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A source that reads records of type `T` from streams of Redis, without a consumer group.
///
/// * Time, order: entries of a stream are read in their order. The event time of a record is that of
///   [`event_time`](Self::event_time), or else the time in the id of its entry. The watermark of a stream is the greatest event
///   time seen minus [`max_out_of_orderness`](Self::max_out_of_orderness); that of the source is the least over the streams that
///   are not idle. Each stream is read by one worker.
/// * Guarantee: exactly once. The checkpoint has the id of the last entry of each stream. Entries that were trimmed or deleted
///   before they were read are noticed by their number, and stop the job, or are counted
///   ([`lost_entries`](Self::lost_entries)).
/// * An entry that cannot be decoded becomes a dead letter with stream, id and reason.
pub struct RedisStreamSource<T> {
    settings: Settings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
}

impl<T: Data> RedisStreamSource<T> {
    /// Returns a source that reads the streams with these keys. `decode` turns entries into records
    /// ([`stream_fields`](super::stream_fields), [`stream_json`](super::stream_json), or a function); its error is the reason of a
    /// dead letter. A stream that is not there yet is waited for.
    pub fn new(
        server: RedisServer,
        keys: impl IntoIterator<Item = impl Into<String>>,
        decode: impl Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Settings::new(server, keys), decode: Arc::new(decode), event_time: None }
    }

    /// Returns the source that a URL describes, with a decoder of one's own, or that of the URL
    /// ([`RedisStreamUrl::decoder`]).
    pub fn at(
        url: &RedisStreamUrl,
        decode: impl Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: url.settings.clone(), decode: Arc::new(decode), event_time: None }
    }

    /// Sets the function that returns the event time of a record. Default: the time in the id of its entry.
    #[must_use]
    pub fn event_time(mut self, of: impl Fn(&T) -> EventTime + Send + Sync + 'static) -> Self {
        self.event_time = Some(Arc::new(of));
        self
    }

    /// Sets where reading begins without a checkpoint. Default: at the first entry that is there.
    #[must_use]
    pub fn start(mut self, start: StreamStart) -> Self {
        self.settings.start = start;
        self
    }

    /// Sets what happens when entries are gone that were not read. Default: the job stops.
    #[must_use]
    pub fn lost_entries(mut self, policy: LostEntries) -> Self {
        self.settings.lost_entries = policy;
        self
    }

    /// Ends the source after the entries that are there when it opens.
    #[must_use]
    pub fn until_end(mut self) -> Self {
        self.settings.until_end = true;
        self
    }

    /// Sets how long the server may be away before the job stops. At the start, half a minute at most. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.settings.patience = time;
        self
    }

    event_time_settings!("of its stream ");

    /// Sets the time after which a stream is idle: the server is there, and nothing has come for this long. The watermark does
    /// not wait for idle streams. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }

    /// Sets when malformed entries stop the job: at a total, at a share of the entries read last, at either of them, or never.
    /// Default: [`MaxMalformed::default`].
    #[must_use]
    pub fn max_malformed(mut self, limit: MaxMalformed) -> Self {
        self.settings.max_malformed = limit;
        self
    }
}

impl<T: Data> Source for RedisStreamSource<T> {
    type Item = T;
    type Reader = RedisStreamReader<T>;

    event_time_statements!();

    fn open(&self, context: SourceContext) -> Result<RedisStreamReader<T>, ConnectorError> {
        let settings = self.settings.clone();
        settings.check()?;
        let restored = position::merge(&context.restored, &settings.keys)?;
        let mine = settings.keys.iter().enumerate().filter(|(index, _)| index % context.workers == context.worker);
        let mine: Vec<&String> = mine.map(|(_, key)| key).collect();
        let streams = opened(&settings, &mine, &restored, &context)?;
        let (decode, event_time) = (Arc::clone(&self.decode), self.event_time.clone());
        RedisStreamReader::new(settings, decode, event_time, streams, &context)
    }
}

/// Returns where each stream is read from, after the server was asked what it knows of them.
fn opened(
    settings: &Settings,
    keys: &[&String],
    restored: &Streams,
    context: &SourceContext,
) -> Result<Vec<Opened>, ConnectorError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let what = format!("read streams of {}", settings.server);
    let lost = context.metrics.counter("lost_entries");
    let now = context.clock.now().0;
    retried_unless(
        || false,
        settings.patience.min(START),
        &what,
        |left| {
            let mut connection = settings.server.connect(left.min(ANSWER))?;
            let mut open = |key: &&String| {
                let known = ask::known(&mut connection, key)?;
                if known.is_none() && !restored.contains_key(*key) {
                    tracing::info!(stream = %key, "there is no such stream yet; it is waited for");
                }
                let position = match restored.get(*key) {
                    Some(position) => {
                        let place = still_there(settings, key, position.place, known.as_ref(), &lost)?;
                        StreamPosition { place, ..*position }
                    }
                    None => StreamPosition {
                        place: first(settings.start, known.as_ref()),
                        watermark: i64::MIN,
                        quiet_since: now,
                    },
                };
                let end = settings.until_end.then(|| known.map_or_else(Default::default, |known| known.newest));
                Ok(Opened { key: (*key).clone(), position, end })
            };
            keys.iter().map(&mut open).collect::<Result<Vec<Opened>, Failure>>()
        },
    )
}

/// Returns the restored place, if all that is behind it is still there, or its loss is accepted.
fn still_there(
    settings: &Settings,
    key: &str,
    place: Place,
    known: Option<&Known>,
    lost: &Counter,
) -> Result<Place, Failure> {
    match place.moved(known, 0, 0, None) {
        (_, None) => Ok(place),
        (moved, Some(gap)) => {
            judge(key, place, gap, settings.lost_entries, lost).map_err(Failure::Fatal)?;
            Ok(moved)
        }
    }
}

fn first(start: StreamStart, known: Option<&Known>) -> Place {
    match start {
        StreamStart::Earliest => Place::default(),
        StreamStart::Latest => Place::at_end(known),
        StreamStart::After(last) => Place { last, passed: None },
    }
}
