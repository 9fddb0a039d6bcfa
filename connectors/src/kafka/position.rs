//! The position of a Kafka source in each epoch: the next offset of every partition, its watermark, and the ids of the
//! topics.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use crate::position::{self, Position};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct PartitionId {
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl PartitionId {
    /// Returns the worker that reads the partition: the same one in every run with this number of workers.
    pub(super) fn owner(&self, workers: usize) -> usize {
        // The topic is hashed (FNV-1a), so that partition 0 of many topics is not always read by worker 0.
        let hash = self
            .topic
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let partition = u64::from(self.partition.unsigned_abs());
        ((hash >> 32).wrapping_add(partition) % workers.max(1) as u64) as usize
    }
}

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The place where reading a partition continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The offset to read next.
    pub(super) next: i64,
    /// The watermark of the partition, event time in ms.
    pub(super) watermark: i64,
    /// The time since which nothing came from the partition, by the job's clock, in microseconds.
    pub(super) quiet_since: u64,
}

/// The places by partition.
pub(super) type Places = BTreeMap<PartitionId, Place>;

/// The merged positions of all workers of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) places: Places,
    /// The ids of the topics; more than one if a topic was created again between the positions of two workers. A
    /// topic has none in checkpoints of earlier versions, or if the brokers did not report it.
    pub(super) topic_ids: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    partitions: Vec<(PartitionId, Place)>,
    #[serde(default)]
    topic_ids: BTreeMap<String, String>,
}

impl Position for Stored {
    const VERSION: u8 = 1;
    const OF: &'static str = "a Kafka source's";
}

/// Encodes a worker's position. `topic_id` returns the id of a topic, if it is known.
pub(super) fn encode(
    places: impl Iterator<Item = (PartitionId, Place)>,
    topic_id: impl Fn(&str) -> Option<String>,
) -> Result<Vec<u8>, ConnectorError> {
    let partitions: Vec<(PartitionId, Place)> = places.collect();
    let mut topic_ids = BTreeMap::new();
    for (PartitionId { topic, .. }, _) in &partitions {
        if !topic_ids.contains_key(topic)
            && let Some(id) = topic_id(topic)
        {
            topic_ids.insert(topic.clone(), id);
        }
    }
    position::encode(&Stored { partitions, topic_ids })
}

/// Merges the positions of all workers of the restored run. Each partition had one reader: two positions for one
/// partition are an error.
pub(super) fn merge(positions: &[Vec<u8>]) -> Result<Noted, ConnectorError> {
    let Noted { mut places, mut topic_ids } = Noted::default();
    for bytes in positions {
        let stored: Stored = position::decode(bytes)?;
        for (topic, id) in stored.topic_ids {
            topic_ids.entry(topic).or_default().insert(id);
        }
        for (id, place) in stored.partitions {
            if let Some(other) = places.insert(id.clone(), place) {
                let message = format!(
                    "the checkpoint has two positions for {id}: offsets {} and {}; it is damaged",
                    other.next, place.next
                );
                return Err(ConnectorError::new(ErrorKind::Data, message));
            }
        }
    }
    Ok(Noted { places, topic_ids })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> impl Strategy<Value = Places> {
        let id = ("[a-c]", 0..20).prop_map(|(topic, partition)| PartitionId { topic, partition });
        let place = (0..i64::MAX, any::<i64>(), any::<u64>());
        let place = place.prop_map(|(next, watermark, quiet_since)| Place { next, watermark, quiet_since });
        prop::collection::btree_map(id, place, 0..30)
    }

    /// Returns the id of a topic, as if the brokers reported those of `a` and `b` only.
    fn id_of(topic: &str) -> Option<String> {
        (topic != "c").then(|| format!("id of {topic}"))
    }

    proptest! {
        /// Positions that any number of workers have stored are merged without loss or duplicates.
        #[test]
        fn merged_positions_are_what_the_workers_stored(places in places(), workers in 1..6_usize) {
            let of = |worker| places.clone().into_iter().filter(move |(id, _)| id.owner(workers) == worker);
            let noted: Vec<Vec<u8>> = (0..workers).map(|worker| encode(of(worker), id_of).unwrap()).collect();
            let merged = merge(&noted).unwrap();
            let ids = places.keys().filter_map(|id| Some((id.topic.clone(), [id_of(&id.topic)?].into())));
            prop_assert_eq!(merged.topic_ids, ids.collect());
            prop_assert_eq!(merged.places, places);
        }
    }

    #[test]
    fn partitions_are_spread() {
        for topic in ["payments", "charge-backs", "a"] {
            let mut counts = [0; 4];
            for partition in 0..40 {
                counts[PartitionId { topic: topic.to_owned(), partition }.owner(4)] += 1;
            }
            assert_eq!(counts, [10; 4]);
        }
    }

    #[test]
    fn positions_of_earlier_versions_have_no_ids() {
        let old =
            br#"{"version":1,"partitions":[[{"topic":"t","partition":0},{"next":1,"watermark":0,"quiet_since":0}]]}"#;
        let noted = merge(&[old.to_vec()]).unwrap();
        assert_eq!((noted.places.len(), noted.topic_ids.len()), (1, 0));
    }

    #[test]
    fn an_invalid_position_is_an_error() {
        for (bytes, reason) in
            [(&b"{}"[..], "not a Kafka source's"), (br#"{"version":9,"partitions":[]}"#, "version 9")]
        {
            let error = merge(&[bytes.to_vec()]).unwrap_err();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(reason), "{error}");
        }
        let id = PartitionId { topic: "t".to_owned(), partition: 0 };
        let twice = encode([(id, Place { next: 1, watermark: 0, quiet_since: 0 })].into_iter(), id_of).unwrap();
        assert!(merge(&[twice.clone(), twice]).unwrap_err().to_string().contains("two positions for t/0"));
    }
}
