//! The settings of a source of streams, which its builder fills in.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::super::server::RedisServer;
use super::entry::EntryId;
use crate::malformed::MaxMalformed;

/// The place where a job without a checkpoint begins to read a stream, and a restored one to read a stream that its checkpoint
/// does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StreamStart {
    /// At the first entry that is there.
    #[default]
    Earliest,
    /// After the last entry that is there.
    Latest,
    /// After the entry with this id, or where it would be.
    After(EntryId),
}

impl FromStr for StreamStart {
    type Err = String;

    /// Parses `earliest`, `latest`, or the id of an entry.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            id => id.parse().map(Self::After).map_err(|_| "earliest, latest, or the id of an entry".to_owned()),
        }
    }
}

/// What happens when entries are gone that were not read: they were trimmed or deleted, the stream was deleted, or the server
/// lost its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostEntries {
    /// The job stops, and each start from its checkpoint is refused until this is changed.
    #[default]
    Refuse,
    /// The loss is logged and counted, and reading goes on with what is there.
    Accept,
}

impl FromStr for LostEntries {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "accept" => Ok(Self::Accept),
            _ => Err("refuse or accept".to_owned()),
        }
    }
}

/// The settings of a [`RedisStreamSource`](super::RedisStreamSource).
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: RedisServer,
    /// The keys of the streams, in their order, none twice.
    pub(super) keys: Vec<String>,
    pub(super) start: StreamStart,
    pub(super) lost_entries: LostEntries,
    pub(super) until_end: bool,
    pub(super) patience: Duration,
    pub(super) max_out_of_orderness: Duration,
    pub(super) idle_after: Duration,
    pub(super) max_malformed: MaxMalformed,
    pub(super) lead: Duration,
    pub(super) max_ahead: Option<Duration>,
}

impl Settings {
    pub(super) fn new(server: RedisServer, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys: BTreeSet<String> = keys.into_iter().map(Into::into).collect();
        Self {
            server,
            keys: keys.into_iter().collect(),
            start: StreamStart::default(),
            lost_entries: LostEntries::default(),
            until_end: false,
            patience: Duration::from_mins(5),
            max_out_of_orderness: Duration::ZERO,
            idle_after: Duration::from_secs(5),
            max_malformed: MaxMalformed::default(),
            lead: Duration::ZERO,
            max_ahead: None,
        }
    }

    /// Refuses impossible settings before the server is asked.
    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        if self.keys.is_empty() || self.keys.iter().any(String::is_empty) {
            let message = "a source of streams needs the key of each of them, which is not empty";
            return Err(ConnectorError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }
}
