//! The only module that knows the client library, rumqttc: what it is told, and what it reports.
//!
//! What is relied on: acknowledgements are written in the order in which they are requested; those that are not written when
//! a connection is lost are dropped (`EventLoop::clean`); what had arrived before is reported first, then the new connection.
//! The library's packet ids of its own messages collide for good after a lost session (rumqtt#1014, #1056), so a client that
//! publishes is made anew after each error.

use std::time::Duration;

use rumqttc::tokio_native_tls::native_tls;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, DisconnectReasonCode, Filter, Packet, Publish, RetainForwardRule,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::broker::Broker;
use super::message::Received;

/// The largest packet of MQTT. A limit below would have the broker drop larger messages and say nothing.
const LARGEST_PACKET: u32 = 268_435_460;
/// Room for requests: more than there can be unacknowledged messages.
const REQUESTS: usize = 2 * 65_536;

/// How a client connects.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) broker: Broker,
    /// The client id, which names the session.
    pub(super) id: String,
    /// Whether the broker is to forget what it has of the session.
    pub(super) clean: bool,
    pub(super) expiry: Duration,
    pub(super) receive_maximum: u16,
    pub(super) keep_alive: Duration,
    /// Maximum time that connecting may take.
    pub(super) within: Duration,
}

/// A connection that is made again, each time that it is lost, by the next [`Client::next`].
pub(super) struct Client {
    events: EventLoop,
    options: Options,
}

/// Sends requests of any task on the thread of the client.
#[derive(Clone)]
pub(super) struct Requests(AsyncClient);

/// What a client reports.
pub(super) enum Happened {
    Connected(Connected),
    /// The broker has answered the subscription. The error is its refusal.
    Subscribed(Result<(), String>),
    /// A message; whether the broker says that it has sent it before.
    Arrived(Received, bool),
    /// An acknowledgement was written.
    Acknowledged(u16),
    Pinged,
    Answered,
    /// The client has said goodbye.
    Closed,
    Nothing,
}

/// What the broker says at the beginning of a connection.
pub(super) struct Connected {
    /// Whether it had kept the session.
    pub(super) resumed: bool,
    /// How long it will keep the session, if that is not what was asked for.
    pub(super) expiry: Option<Duration>,
    pub(super) has_shared_subscriptions: bool,
    pub(super) has_wildcards: bool,
    pub(super) has_qos_1: bool,
}

/// Why a connection was lost, or not made.
pub(super) enum Lost {
    /// It is worth trying again.
    ForNow(ConnectorError),
    /// It is not.
    ForGood(ConnectorError),
}

impl Client {
    /// Makes a client that is not connected yet.
    pub(super) fn new(options: Options) -> Result<(Self, Requests), ConnectorError> {
        let mut mqtt = MqttOptions::new(&options.id, &options.broker.host, options.broker.port);
        mqtt.set_clean_start(options.clean).set_keep_alive(options.keep_alive).set_manual_acks(true);
        mqtt.set_connection_timeout(options.within.as_secs().max(1));
        mqtt.set_session_expiry_interval(Some(u32::try_from(options.expiry.as_secs()).unwrap_or(u32::MAX)));
        mqtt.set_receive_maximum(Some(options.receive_maximum));
        mqtt.set_max_packet_size(Some(LARGEST_PACKET));
        if options.broker.tls {
            mqtt.set_transport(Transport::tls_with_config(tls(&options.broker)?));
        }
        let (requests, events) = AsyncClient::new(mqtt, REQUESTS);
        Ok((Self { events, options }, Requests(requests)))
    }

    /// Waits for what happens next. Connects first if there is no connection.
    pub(super) async fn next(&mut self) -> Result<Happened, Lost> {
        match self.events.poll().await {
            Ok(event) => Ok(happened(event)),
            Err(error) => Err(lost(&self.options, error)),
        }
    }

    /// Reads user and password again, for the next connection.
    pub(super) fn refresh(&mut self) -> Result<(), ConnectorError> {
        if let Some((user, password)) = self.options.broker.credentials()? {
            self.events.options.set_credentials(user, password);
        }
        // The broker's answer has replaced what was asked for.
        let expiry = u32::try_from(self.options.expiry.as_secs()).unwrap_or(u32::MAX);
        self.events.options.set_session_expiry_interval(Some(expiry));
        Ok(())
    }
}

fn tls(broker: &Broker) -> Result<TlsConfiguration, ConnectorError> {
    let Some(pem) = broker.certificates()? else { return Ok(TlsConfiguration::Native) };
    let invalid = |what: &str, e: native_tls::Error| {
        ConnectorError::caused(ErrorKind::Invalid, format!("could not {what} for {broker}"), e)
    };
    let certificates = native_tls::Certificate::stack_from_pem(&pem).map_err(|e| invalid("read certificates", e))?;
    if certificates.is_empty() {
        // Each certificate of a broker would be refused, without the reason.
        let message = format!("could not read certificates for {broker}: the file has none in PEM");
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    let mut builder = native_tls::TlsConnector::builder();
    builder.disable_built_in_roots(true);
    certificates.into_iter().for_each(|certificate| _ = builder.add_root_certificate(certificate));
    let connector = builder.build().map_err(|e| invalid("set up TLS", e))?;
    Ok(TlsConfiguration::NativeConnector(connector))
}

impl Requests {
    /// Acknowledges the message with this packet id.
    pub(super) fn acknowledge(&self, id: u16) -> Result<(), ConnectorError> {
        let message = Publish { pkid: id, qos: QoS::AtLeastOnce, ..Publish::default() };
        self.0.try_ack(&message).map_err(|e| full("acknowledge a message", e))
    }

    /// Subscribes with QoS 1. The broker sends retained messages only if it does not have the subscription.
    pub(super) fn subscribe(&self, filter: &str) -> Result<(), ConnectorError> {
        let mut filter = Filter::new(filter, QoS::AtLeastOnce);
        filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
        self.0.try_subscribe_many([filter]).map_err(|e| full("subscribe", e))
    }

    /// Says goodbye, which keeps the session.
    pub(super) fn disconnect(&self) {
        // If this cannot be said, the connection is closed without it.
        drop(self.0.try_disconnect());
    }
}

fn full(what: &str, error: rumqttc::v5::ClientError) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Internal, format!("could not {what}: the client takes no more requests"), error)
}

fn happened(event: Event) -> Happened {
    match event {
        Event::Incoming(Packet::ConnAck(answer)) => {
            Happened::Connected(connected(answer.session_present, answer.properties))
        }
        Event::Incoming(Packet::SubAck(answer)) => {
            let refused =
                answer.return_codes.iter().find(|code| **code != SubscribeReasonCode::Success(QoS::AtLeastOnce));
            Happened::Subscribed(match refused {
                None => Ok(()),
                Some(SubscribeReasonCode::Success(QoS::AtMostOnce)) => {
                    Err("it grants QoS 0, by which messages can be lost".to_owned())
                }
                Some(code) => Err(format!("it answers {code:?}")),
            })
        }
        Event::Incoming(Packet::Publish(message)) => {
            let Publish { dup, retain, topic, pkid, payload, properties, .. } = message;
            let (user_properties, content_type) =
                properties.map_or((Vec::new(), None), |of| (of.user_properties, of.content_type));
            let received = Received { topic, payload, retained: retain, id: pkid, user_properties, content_type };
            Happened::Arrived(received, dup)
        }
        Event::Incoming(Packet::PingResp(_)) => Happened::Answered,
        Event::Outgoing(Outgoing::PubAck(id)) => Happened::Acknowledged(id),
        Event::Outgoing(Outgoing::PingReq) => Happened::Pinged,
        Event::Outgoing(Outgoing::Disconnect) => Happened::Closed,
        _ => Happened::Nothing,
    }
}

fn connected(resumed: bool, properties: Option<ConnAckProperties>) -> Connected {
    // What the broker does not mention it has.
    let has = |flag: Option<u8>| flag != Some(0);
    let of = properties.as_ref();
    Connected {
        resumed,
        expiry: of.and_then(|of| of.session_expiry_interval).map(|seconds| Duration::from_secs(seconds.into())),
        has_shared_subscriptions: has(of.and_then(|of| of.shared_subscription_available)),
        has_wildcards: has(of.and_then(|of| of.wildcard_subscription_available)),
        has_qos_1: has(of.and_then(|of| of.max_qos)),
    }
}

/// Sorts an error by whether another try is worthwhile.
fn lost(options: &Options, error: ConnectionError) -> Lost {
    use ConnectReturnCode as Code;
    let Options { broker, id, .. } = options;
    let for_good = |kind, message: String| Lost::ForGood(ConnectorError::new(kind, message));
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => for_good(
            ErrorKind::Fenced,
            format!(
                "{broker}: another client has connected as \"{id}\": the job was started a second time, or another \
                 program uses this session; each needs a session of its own"
            ),
        ),
        ConnectionError::ConnectionRefused(code) => match code {
            Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => {
                for_good(ErrorKind::Invalid, only_older(broker))
            }
            Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => for_good(
                ErrorKind::Invalid,
                format!(
                    "{broker} does not let this user in ({code:?}): check user and password, and what the user may do"
                ),
            ),
            Code::BadClientId | Code::ClientIdentifierNotValid | Code::MalformedPacket | Code::ProtocolError => {
                for_good(ErrorKind::Invalid, format!("{broker} refuses client \"{id}\": {code:?}"))
            }
            _ => Lost::ForNow(ConnectorError::new(ErrorKind::Unavailable, format!("{broker} refuses: {code:?}"))),
        },
        other => {
            let message = format!("the connection of \"{id}\" to {broker} failed");
            Lost::ForNow(ConnectorError::caused(ErrorKind::Unavailable, message, other))
        }
    }
}

/// The error of a broker that does not know MQTT 5.
pub(super) fn only_older(broker: &Broker) -> String {
    format!(
        "{broker} speaks MQTT 3.1.1 only, and this connector MQTT 5: with 3.1.1 a broker sends as many unacknowledged messages \
         as it likes, often 20, and each waits for its commit; upgrade the broker, or enable MQTT 5"
    )
}
