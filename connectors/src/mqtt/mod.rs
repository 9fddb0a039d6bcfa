//! Topics of MQTT 5, read once each while the broker keeps the session.
//!
//! ```text
//! source ─ reader (one per worker) ─ session (a thread each) ─ client (rumqttc)         inbox: ledger, queue
//!             └─ position (in checkpoints)        └─ older (brokers without MQTT 5)
//! leaves: settings, broker, message, url
//! ```
//! `docs/connectors/mqtt.md` describes what is guaranteed, and what a client cannot know.

mod broker;
mod client;
mod message;
mod older;
mod position;
mod reader;
mod session;
mod settings;
mod source;
mod url;

pub use broker::Broker;
pub use message::{MqttMessage, json, raw};
pub use reader::MqttReader;
pub use settings::LostSession;
pub use source::MqttSource;
pub use url::{MqttUrl, MqttUrlError};
