//! The MQTT source and its settings.

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::source::{Source, SourceContext};
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime, Remedy};

use super::broker::Broker;
use super::message::{Decode, EventTimeOf, MqttMessage};
use super::position;
use super::reader::{MqttReader, numbers};
use super::settings::{LostSession, SourceSettings};
use super::url::{MqttUrl, MqttUrlError};
use crate::event_times::{event_time_settings, event_time_statements};
use crate::malformed::MaxMalformed;

/// A source that reads records of type `T` from topics of MQTT 5, with QoS 1.
///
/// * Time, order: the event time of a record is that of [`event_time`](Self::event_time), or else the time at which it was
///   read. The watermark of a session is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness); that of the source is the least over the sessions that are not
///   idle. With several workers, messages of a topic are spread over sessions and have no order.
/// * Guarantee: a message is acknowledged after the commit of its epoch. While the broker keeps the session, each message is
///   read once, through any crash of the job and by any number of workers. A session that the broker has lost stops the job,
///   or is accepted ([`lost_session`](Self::lost_session)). Messages that were published with QoS 0 can be lost.
/// * A message that cannot be decoded becomes a dead letter with topic, session, packet id and reason, and is acknowledged
///   like any other.
pub struct MqttSource<T> {
    settings: SourceSettings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
}

impl<T: Data> MqttSource<T> {
    /// Returns a source that reads what is published to topics that match the filter `topic` (`sensors/#`). `session` names
    /// the source at the broker: the same in each start of the job, and no other program's. `decode` turns messages into
    /// records ([`json`](super::json), [`raw`](super::raw), or a function); its error is the reason of a dead letter.
    pub fn new(
        broker: Broker,
        topic: impl Into<String>,
        session: impl Into<String>,
        decode: impl Fn(MqttMessage<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let settings = SourceSettings {
            broker,
            topic: topic.into(),
            session: session.into(),
            shared: true,
            session_expiry: Duration::from_hours(7 * 24),
            receive_maximum: u16::MAX,
            keep_alive: Duration::from_secs(10),
            patience: Duration::from_mins(5),
            lost_session: LostSession::Refuse,
            max_queued_bytes: 64 << 20,
            max_out_of_orderness: Duration::ZERO,
            idle_after: Duration::from_secs(5),
            max_malformed: MaxMalformed::default(),
            lead: Duration::ZERO,
            max_ahead: None,
        };
        Self { settings, decode: Arc::new(decode), event_time: None }
    }

    /// Returns the source that a URL describes. Its options are `session` (which is needed), `lost-session` (`refuse` or
    /// `accept`), `one-session` (`true`), `session-expiry`, `receive-maximum`, `keep-alive`, `patience`, `idle-after` and
    /// `max-out-of-orderness`; times are as in `5s` or `7days`.
    ///
    /// # Errors
    /// When the URL has another option, no session, or a value that is not one.
    pub fn at(
        url: &MqttUrl,
        decode: impl Fn(MqttMessage<'_>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, MqttUrlError> {
        url.only(&[
            "session",
            "lost-session",
            "one-session",
            "session-expiry",
            "receive-maximum",
            "keep-alive",
            "patience",
            "idle-after",
            "max-out-of-orderness",
        ])?;
        let session = url.option("session").ok_or_else(|| {
            url.wrong(
                "it names no session: session=NAME, the same in each start of the job, and no other program's"
                    .to_owned(),
            )
        })?;
        let mut source = Self::new(url.broker.clone(), &url.topic, session, decode);
        let settings = &mut source.settings;
        url.set("lost-session", &mut settings.lost_session, |text| match text {
            "refuse" => Ok(LostSession::Refuse),
            "accept" => Ok(LostSession::Accept),
            _ => Err("refuse or accept".to_owned()),
        })?;
        let flag = |text: &str| text.parse::<bool>().map(|one| !one).map_err(|_| "true or false".to_owned());
        url.set("one-session", &mut settings.shared, flag)?;
        url.set("receive-maximum", &mut settings.receive_maximum, |text| {
            text.parse().map_err(|_| "a number from 1 to 65535".to_owned())
        })?;
        for (name, time) in [
            ("session-expiry", &mut settings.session_expiry),
            ("keep-alive", &mut settings.keep_alive),
            ("patience", &mut settings.patience),
            ("idle-after", &mut settings.idle_after),
            ("max-out-of-orderness", &mut settings.max_out_of_orderness),
        ] {
            url.set(name, time, |text| humantime::parse_duration(text).map_err(|e| format!("a time as 5s ({e})")))?;
        }
        Ok(source)
    }

    /// Sets the function that returns the event time of a record. Default: the time at which the record was read.
    #[must_use]
    pub fn event_time(mut self, of: impl Fn(&T) -> EventTime + Send + Sync + 'static) -> Self {
        self.event_time = Some(Arc::new(of));
        self
    }

    /// Reads by one session, on the first worker, that subscribes without sharing. Brokers send retained messages only to
    /// such subscriptions, and keep the order of a topic.
    #[must_use]
    pub fn one_session(mut self) -> Self {
        self.settings.shared = false;
        self
    }

    /// Sets how long the broker keeps a session, with the messages for it, while the job is not connected. A broker that
    /// grants less is refused. Default: 7 days.
    #[must_use]
    pub fn session_expiry(mut self, time: Duration) -> Self {
        self.settings.session_expiry = time;
        self
    }

    /// Sets what happens when the broker no longer has a session. Default: the job stops.
    #[must_use]
    pub fn lost_session(mut self, policy: LostSession) -> Self {
        self.settings.lost_session = policy;
        self
    }

    /// Sets how many messages the broker may send to a session before it waits for an acknowledgement, and so how many of
    /// an epoch a session can take. Default: 65,535, the most that MQTT allows.
    #[must_use]
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        self.settings.receive_maximum = messages;
        self
    }

    /// Sets how often a connection is checked by a ping. Until it is answered, acknowledged messages stay in the positions
    /// of checkpoints. Default: 10 s.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.settings.keep_alive = interval;
        self
    }

    /// Sets how long the broker may be away before the job stops. At the start, half a minute at most. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.settings.patience = time;
        self
    }

    /// Sets how many bytes of messages may wait in memory for each session. Default: 64 MiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_queued_bytes = bytes;
        self
    }

    event_time_settings!("of its session ");

    /// Sets the time after which a session is idle: it is connected, and nothing has come for this long. The watermark does
    /// not wait for idle sessions. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }

    /// Sets when malformed messages stop the job: at a total, at a share of the messages read last, at either of them, or
    /// never. Default: [`MaxMalformed::default`].
    #[must_use]
    pub fn max_malformed(mut self, limit: MaxMalformed) -> Self {
        self.settings.max_malformed = limit;
        self
    }
}

impl<T: Data> Source for MqttSource<T> {
    type Item = T;
    type Reader = MqttReader<T>;

    event_time_statements!();

    fn open(&self, context: SourceContext) -> Result<MqttReader<T>, ConnectorError> {
        let settings = self.settings.clone();
        settings.check()?;
        if context.checkpoint_interval.is_none() {
            // An epoch that is committed in memory only would have its messages acknowledged, and be lost with the process.
            let message = "messages are acknowledged when their epoch is committed, which needs checkpoint_dir";
            return Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::Setting("checkpoint_dir")));
        }
        let restored = position::merge(&context.restored, &settings.session, &settings.filter())?;
        let numbers = numbers(context.worker, context.workers, settings.shared, &restored);
        let (decode, event_time) = (Arc::clone(&self.decode), self.event_time.clone());
        MqttReader::open(settings, decode, event_time, numbers.into_iter(), &restored, &context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::json;
    use super::*;

    #[test]
    fn a_url_sets_what_it_names_and_says_what_is_wrong() {
        let at = |text: &str| MqttSource::<u8>::at(&text.parse().unwrap(), json());
        let all = "mqtt://b/t/#?qos=1&session=s&lost-session=accept&one-session=true&session-expiry=1h&receive-maximum=7\
                   &keep-alive=6s&patience=2m&idle-after=10ms&max-out-of-orderness=3s";
        let settings = at(all).unwrap().settings;
        assert_eq!((settings.filter(), settings.client(2)), ("t/#".to_owned(), "s-2".to_owned()));
        assert_eq!((settings.lost_session, settings.receive_maximum), (LostSession::Accept, 7));
        assert_eq!(settings.session_expiry, Duration::from_hours(1));
        settings.check().unwrap();
        assert_eq!(at("mqtt://b/t/#?session=s").unwrap().settings.filter(), "$share/s/t/#");
        for (text, reason) in [
            ("mqtt://b/t", "it names no session"),
            ("mqtt://b/t?session=s&start=latest", "no option is called \"start\""),
            ("mqtt://b/t?session=s&lost-session=ignore", "refuse or accept"),
            ("mqtt://b/t?session=s&receive-maximum=70000", "1 to 65535"),
            ("mqtt://b/t?session=s&patience=soon", "a time as 5s"),
        ] {
            let error = at(text).err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_the_broker_is_asked() {
        let source = || MqttSource::<u8>::new(Broker::new("b", 1), "t", "s", json());
        for (source, reason) in [
            (source().receive_maximum(0), "receive_maximum"),
            (source().keep_alive(Duration::from_secs(1)), "keep_alive"),
            (source().session_expiry(Duration::ZERO), "session_expiry"),
            (MqttSource::new(Broker::new("b", 1), "t", "a/b", json()), "session \"a/b\""),
            (MqttSource::new(Broker::new("b", 1), "a#", "s", json()), "topic filter \"a#\""),
        ] {
            let error = source.settings.check().unwrap_err();
            assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(reason), "{error}");
        }
    }
}
