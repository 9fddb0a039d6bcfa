//! The ids of topics, which show which topic a name stands for. Kafka assigns an id to each topic when it is created,
//! and another one when it is deleted and created again (KIP-516, brokers from 2.8 on). An offset belongs to an id:
//! under another id the same offset is another record.
//!
//! ```text
//! librdkafka's log ─▶ "Topic t changed id from A to B" ─▶ the first time: the id of t is B
//!                                                       └▶ later: t was created again
//! ```
//! librdkafka learns ids with its metadata. rdkafka wraps no call for them, but librdkafka logs each change,
//! including the first one, in the queue of the client's events. SUBTLE: it does so before it sends a fetch with the
//! new id. So a caller that takes messages, then takes all events, and then reads the ids here, never takes a message
//! of the new topic for one of the old topic. (From brokers before 3.1 librdkafka fetches by name: records that came
//! between the creation of the new topic and the next refresh of the metadata have been read by then. The job stops
//! all the same.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};
use tidemill_engine::locks::lock;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::position::Noted;

/// Makes a client log the lines that contain ids. Only for clients that are polled: the log of others would pile up in
/// their queues.
pub(super) fn listen(config: &mut ClientConfig) {
    let debug = config.get("debug").map_or_else(|| "metadata".to_owned(), |asked| format!("{asked},metadata"));
    config.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
}

/// The policy of a restore for a topic that was deleted and created again since the checkpoint. The offsets in the
/// checkpoint are those of the old topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RecreatedTopic {
    /// Stop with an error.
    #[default]
    Refuse,
    /// Read the new topic from its first record. Records of the old topic that were not read before the checkpoint are
    /// lost; records before the watermark of the checkpoint are late.
    FromFirst,
    /// Continue at the same offsets: the topic is a copy that kept them (moved to another cluster, restored from a
    /// backup).
    SameOffsets,
}

/// A topic that was deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remade {
    topic: String,
    was: String,
    is: String,
}

impl Remade {
    /// Returns the error that stops a job which reads the topic.
    pub(super) fn while_reading(&self) -> ConnectorError {
        self.error(
            "while the job reads it",
            "start it again with `recreated_topic` set to how the new one is to be read",
        )
    }

    /// Returns the error that stops a job which writes to the topic.
    pub(super) fn while_writing(&self) -> ConnectorError {
        self.error(
            "while the job writes to it",
            "what was published before is gone with the old one, and perhaps a part of the last epochs; restore a checkpoint, or start anew, for what is to be written again",
        )
    }

    fn since_checkpoint(&self) -> ConnectorError {
        self.error(
            "since the checkpoint",
            "the offsets in it are those of the old one; set `recreated_topic` to read the new one from its first record or, where it is a copy, at the same offsets; or start anew in an empty checkpoint directory",
        )
    }

    fn error(&self, when: &str, advice: &str) -> ConnectorError {
        let Self { topic, was, is } = self;
        let message =
            format!("topic \"{topic}\" was deleted and created again {when} (its id was {was} and is {is}): {advice}");
        ConnectorError::new(ErrorKind::Data, message)
    }
}

/// The ids of topics, as one client logs them. Cheap to clone; clones share the ids.
#[derive(Clone, Default)]
pub(super) struct TopicIds(Arc<Heard>);

#[derive(Default)]
struct Heard {
    known: Mutex<Known>,
    /// Whether `known` has a topic that was created again. Checking this needs no lock.
    is_remade: AtomicBool,
}

#[derive(Default)]
struct Known {
    ids: BTreeMap<String, String>,
    remade: Option<Remade>,
}

impl TopicIds {
    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0.known)
    }

    /// Notes the id in a line of librdkafka's log, if the line contains one.
    pub(super) fn hear(&self, line: &str) {
        let Some((topic, id)) = named_id(line) else { return };
        let mut known = self.known();
        match known.ids.get(topic) {
            None => drop(known.ids.insert(topic.to_owned(), id.to_owned())),
            Some(was) if was == id => {}
            Some(was) => {
                known.remade = Some(Remade { topic: topic.to_owned(), was: was.clone(), is: id.to_owned() });
                self.0.is_remade.store(true, Ordering::Release);
            }
        }
    }

    /// Returns the id of a topic; none if the brokers do not report it.
    pub(super) fn of(&self, topic: &str) -> Option<String> {
        self.known().ids.get(topic).cloned()
    }

    /// Returns a topic that was created again since its id was first logged.
    pub(super) fn remade(&self) -> Option<Remade> {
        self.0.is_remade.load(Ordering::Acquire).then(|| self.known().remade.clone()).flatten()
    }
}

/// Returns the topic and its new id, if the line contains one.
fn named_id(line: &str) -> Option<(&str, &str)> {
    // Names of topics contain no spaces.
    let (before, after) = line.split_once(" changed id from ")?;
    let topic = before.rsplit_once("Topic ")?.1;
    let id = after.split_once(" to ")?.1.trim();
    // An id of zeros means that the broker that answered is too old to have ids.
    let is_zero = id.trim_end_matches('=').bytes().all(|byte| byte == b'A');
    (!is_zero).then_some((topic, id))
}

/// Compares the topics of the checkpoint with those that exist, and applies `policy` to those that were created again.
pub(super) fn reconcile(noted: &mut Noted, ids: &TopicIds, policy: RecreatedTopic) -> Result<(), ConnectorError> {
    let topics: BTreeSet<String> = noted.places.keys().map(|id| id.topic.clone()).collect();
    for topic in topics {
        let was = noted.topic_ids.get(&topic);
        let (Some(was), Some(is)) = (was, ids.of(&topic)) else {
            let reason =
                if was.is_none() { "the checkpoint has no id of it" } else { "the brokers do not report its id" };
            tracing::info!(
                topic,
                reason,
                "it cannot be seen whether the topic was deleted and created again since the checkpoint"
            );
            continue;
        };
        let Some(was) = was.iter().find(|was| **was != is).cloned() else { continue };
        let remade = Remade { topic, was, is };
        match policy {
            RecreatedTopic::Refuse => return Err(remade.since_checkpoint()),
            RecreatedTopic::FromFirst => {
                tracing::warn!(?remade, "the topic was created again: it is read from its first record");
                noted.places.retain(|id, _| id.topic != remade.topic);
            }
            RecreatedTopic::SameOffsets => {
                tracing::warn!(?remade, "the topic was created again: reading continues at the same offsets");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::position::{PartitionId, Place};
    use super::*;

    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn line(topic: &str, from: &str, to: &str) -> String {
        format!("[thrd:main]: Topic {topic} changed id from {from} to {to}")
    }

    #[test]
    fn the_first_id_is_the_topics_and_another_one_is_another_topic() {
        let ids = TopicIds::default();
        ids.hear("[thrd:main]: Topic t [0] Leader 1 Epoch 0");
        ids.hear(&line("t", ZERO, "one"));
        // Another handle of the same topic starts at zero again, and brokers that are too old always send zero.
        ids.hear(&line("t", ZERO, "one"));
        ids.hear(&line("t", "one", ZERO));
        assert_eq!((ids.of("t").as_deref(), ids.of("u"), ids.remade()), (Some("one"), None, None));
        ids.hear(&line("t", "one", "two"));
        let error = ids.remade().unwrap().while_reading().to_string();
        assert!(error.contains("\"t\"") && error.contains("was one and is two"), "{error}");
    }

    fn noted(topic_id: Option<&str>) -> Noted {
        let id = |topic: &str| PartitionId { topic: topic.to_owned(), partition: 0 };
        let place = Place { next: 7, watermark: 0, quiet_since: 0 };
        let topic_ids = topic_id.map(|is| ("t".to_owned(), [is.to_owned()].into()));
        Noted { places: [(id("t"), place), (id("u"), place)].into(), topic_ids: topic_ids.into_iter().collect() }
    }

    #[test]
    fn a_restore_compares_ids_and_follows_the_setting() {
        let ids = TopicIds::default();
        ids.hear(&line("t", ZERO, "two"));
        let after = |was: Option<&str>, policy| {
            let mut noted = noted(was);
            reconcile(&mut noted, &ids, policy).map(|()| noted.places.len())
        };
        assert_eq!(after(Some("two"), RecreatedTopic::Refuse).unwrap(), 2);
        assert_eq!(after(None, RecreatedTopic::Refuse).unwrap(), 2, "an old checkpoint");
        let error = after(Some("one"), RecreatedTopic::Refuse).unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains("was one and is two"), "{error}");
        assert_eq!(after(Some("one"), RecreatedTopic::FromFirst).unwrap(), 1);
        assert_eq!(after(Some("one"), RecreatedTopic::SameOffsets).unwrap(), 2);
    }
}
