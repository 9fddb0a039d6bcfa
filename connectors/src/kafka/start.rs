//! The offset from which each partition is read when a source opens. It comes from the checkpoint or from the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tidemill_engine::threads;
use tidemill_engine::{Arrival, ConnectorError, ErrorKind, EventTime};

use super::client::{ASK, failed, verdict};
use super::position::{PartitionId, Place, Places};
use super::topics::Topics;

/// Maximum number of requests for the offsets of a partition, each of which may take half a minute.
const TRIES: u32 = 10;

/// The place where a job without a checkpoint begins to read. A restored job continues at the positions in its
/// checkpoint; partitions that were created since are read from their first record.
///
/// In a file: `"earliest"`, `"latest"`, `"committed"`, `{"timestamp": "2025-01-31T12:00:00Z"}` or
/// `{"offsets": [{"topic": "payments", "partition": 0, "offset": 17}]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Start {
    /// At the first record that still exists.
    #[default]
    Earliest,
    /// After the last record that exists.
    Latest,
    /// At the first record whose message timestamp is this one or later.
    Timestamp(EventTime),
    /// At the offsets last committed for the source's consumer group. Partitions without a committed offset are read
    /// from their first record.
    Committed,
    /// At these offsets, by topic and partition. Partitions that are not listed are read from their first record.
    Offsets(#[serde(with = "offsets")] BTreeMap<(String, i32), i64>),
}

/// Serialization of offsets as a list of entries with `topic`, `partition` and `offset`.
mod offsets {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        topic: String,
        partition: i32,
        offset: i64,
    }

    pub(super) fn serialize<S: Serializer>(offsets: &BTreeMap<(String, i32), i64>, to: S) -> Result<S::Ok, S::Error> {
        let entry = |((topic, partition), offset): (&(String, i32), &i64)| Entry {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        };
        to.collect_seq(offsets.iter().map(entry))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<(String, i32), i64>, D::Error> {
        let entries = Vec::<Entry>::deserialize(from)?;
        Ok(entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect())
    }
}

impl FromStr for Start {
    type Err = String;

    /// Parses `earliest`, `latest`, `committed`, or a number of milliseconds since the Unix epoch.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "committed" => Ok(Self::Committed),
            number => number.parse().map(|ms| Self::Timestamp(EventTime(ms))).map_err(|_| {
                format!("start \"{number}\" is not earliest, latest, committed or a time in ms since the Unix epoch")
            }),
        }
    }
}

/// A partition to be read: the offset to start from, and the end that the broker has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) place: Place,
    /// The offset after the last record that can be read now.
    pub(super) end: i64,
}

/// Returns where reading begins for each partition of `mine`. An offset that the partition does not have is an error.
pub(super) fn places<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    mine: &BTreeSet<PartitionId>,
    restored: Option<&Places>,
    start: &Start,
    now: Arrival,
) -> Result<BTreeMap<PartitionId, Opening>, ConnectorError> {
    let asked = if restored.is_none() { asked_offsets(consumer, mine, start)? } else { BTreeMap::new() };
    let mut openings = BTreeMap::new();
    for id in mine {
        let noted = restored.and_then(|places| places.get(id));
        let (first, end) = bounds(consumer, id, noted)?;
        let place = match noted {
            Some(place) => check(id, *place, first, end)?,
            None => {
                let at_end = restored.is_none() && *start == Start::Latest;
                let next = if at_end { end } else { asked.get(id).copied().unwrap_or(first) };
                let place = Place { next, watermark: i64::MIN, quiet_since: now.0 };
                check(id, place, first, end)?
            }
        };
        openings.insert(id.clone(), Opening { place, end });
    }
    Ok(openings)
}

/// Returns the first offset of a partition and its end. A broker that has just restarted may not know the end yet: if
/// the checkpoint has a later offset, the broker is asked again for some seconds.
fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    id: &PartitionId,
    noted: Option<&Place>,
) -> Result<(i64, i64), ConnectorError> {
    let mut tries = 0;
    loop {
        let (first, end) = watermarks(consumer, id)?;
        if tries == 20 || noted.is_none_or(|place| place.next <= end) {
            return Ok((first, end));
        }
        tries += 1;
        threads::pause(Duration::from_millis(500));
    }
}

/// Requests the first offset of a partition and its end. The brokers have just reported the partition, so a failure is
/// likely to pass, and the request is repeated.
fn watermarks<C: ConsumerContext>(consumer: &BaseConsumer<C>, id: &PartitionId) -> Result<(i64, i64), ConnectorError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match consumer.fetch_watermarks(&id.topic, id.partition, ASK) {
            Ok(bounds) => return Ok(bounds),
            Err(error)
                if tries < TRIES
                    && error.rdkafka_error_code().is_some_and(|code| verdict(code).0 == ErrorKind::Unavailable) =>
            {
                tracing::warn!(partition = %id, %error, "waiting for Kafka to report the offsets of a partition");
                threads::pause(Duration::from_secs(1));
            }
            Err(error) => return Err(failed(format!("ask for the offsets of {id}"), error)),
        }
    }
}

/// Checks that the partition has the offset at which reading begins. Retention may have deleted it, or the topic may
/// have been deleted and created again.
fn check(id: &PartitionId, place: Place, first: i64, end: i64) -> Result<Place, ConnectorError> {
    let wrong = |what: String| {
        let advice = "restore another checkpoint, or start anew in an empty checkpoint directory";
        Err(ConnectorError::new(
            ErrorKind::Data,
            format!("{id} is to be read from offset {}, but {what}: {advice}", place.next),
        ))
    };
    if place.next < first {
        return wrong(format!("its first record is at {first}: those before were deleted by retention, unread"));
    }
    if place.next > end {
        return wrong(format!("it ends at {end}: the topic was created again, or lost records"));
    }
    Ok(place)
}

/// Returns the offsets that the settings ask for. Partitions that are not listed are read from their first record.
fn asked_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    mine: &BTreeSet<PartitionId>,
    start: &Start,
) -> Result<BTreeMap<PartitionId, i64>, ConnectorError> {
    let list = |offset: Offset| {
        let mut list = TopicPartitionList::new();
        for id in mine {
            list.add_partition_offset(&id.topic, id.partition, offset)
                .map_err(|e| failed(format!("ask for offsets of {id}"), e))?;
        }
        Ok(list)
    };
    if mine.is_empty() {
        return Ok(BTreeMap::new());
    }
    let answer = match start {
        Start::Earliest | Start::Latest => return Ok(BTreeMap::new()),
        Start::Offsets(offsets) => {
            let of = |id: &PartitionId| offsets.get(&(id.topic.clone(), id.partition)).copied();
            return Ok(mine.iter().filter_map(|id| Some((id.clone(), of(id)?))).collect());
        }
        Start::Timestamp(EventTime(ms)) => consumer
            .offsets_for_times(list(Offset::Offset(*ms))?, ASK)
            .map_err(|e| failed("ask for the offsets of a time", e))?,
        Start::Committed => consumer
            .committed_offsets(list(Offset::Invalid)?, ASK)
            .map_err(|e| failed("ask for the offsets the group committed", e))?,
    };
    let mut asked = BTreeMap::new();
    for element in answer.elements() {
        let id = PartitionId { topic: element.topic().to_owned(), partition: element.partition() };
        element.error().map_err(|e| failed(format!("ask for the offset of {id} to start from"), e))?;
        match element.offset() {
            Offset::Offset(offset) => drop(asked.insert(id, offset)),
            // No record has this timestamp or a later one.
            Offset::End => {
                let (_, end) = watermarks(consumer, &id)?;
                asked.insert(id, end);
            }
            // Nothing was committed, so the partition is read from its first record.
            _ => {}
        }
    }
    Ok(asked)
}

/// Checks that all partitions in the checkpoint still exist and are still read.
pub(super) fn check_restored(
    restored: &Places,
    topics: &Topics,
    there: &BTreeSet<PartitionId>,
) -> Result<(), ConnectorError> {
    if let Some(id) = restored.keys().find(|id| !topics.reads(&id.topic)) {
        let message = format!(
            "the checkpoint was reading topic \"{}\", which this run does not ({topics}): name the same topics",
            id.topic
        );
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    match restored.keys().find(|id| !there.contains(id)) {
        None => Ok(()),
        Some(id) => Err(ConnectorError::new(
            ErrorKind::Data,
            format!("the checkpoint was reading {id} up to offset {}, and it is not there any more", restored[id].next),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_data() {
        let offsets = [(("a".to_owned(), 0), 17), (("a".to_owned(), 3), 4)].into();
        for (start, json) in [
            (Start::Earliest, r#""earliest""#),
            (Start::Latest, r#""latest""#),
            (Start::Committed, r#""committed""#),
            (Start::Timestamp(EventTime(12)), r#"{"timestamp":12}"#),
            (
                Start::Offsets(offsets),
                r#"{"offsets":[{"topic":"a","partition":0,"offset":17},{"topic":"a","partition":3,"offset":4}]}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&start).unwrap(), json);
            assert_eq!(serde_json::from_str::<Start>(json).unwrap(), start);
        }
        let text: Start = serde_json::from_str(r#"{"timestamp":"1970-01-01T00:00:01Z"}"#).unwrap();
        assert_eq!(text, Start::Timestamp(EventTime(1000)));
    }

    #[test]
    fn a_place_that_is_not_there_is_an_error() {
        let id = PartitionId { topic: "t".to_owned(), partition: 3 };
        let place = |next| Place { next, watermark: 0, quiet_since: 0 };
        assert!(check(&id, place(5), 5, 9).is_ok() && check(&id, place(9), 5, 9).is_ok());
        for (next, reason) in [(4, "deleted by retention"), (10, "created again")] {
            let error = check(&id, place(next), 5, 9).unwrap_err();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(reason), "{error}");
            assert!(error.to_string().contains("t/3"), "{error}");
        }
    }

    #[test]
    fn another_topic_or_a_lost_partition_is_not_passed_over() {
        let id = |partition| PartitionId { topic: "t".to_owned(), partition };
        let restored: Places = [(id(0), Place { next: 7, watermark: 0, quiet_since: 0 })].into();
        assert!(check_restored(&restored, &Topics::named("t"), &[id(0), id(1)].into()).is_ok());
        let error = check_restored(&restored, &Topics::named("u"), &[id(0)].into()).unwrap_err();
        assert!(error.to_string().contains("name the same topics"), "{error}");
        let error = check_restored(&restored, &Topics::named("t"), &[id(1)].into()).unwrap_err();
        assert!(error.to_string().contains("t/0 up to offset 7"), "{error}");
    }

    #[test]
    fn starts_are_read_from_text() {
        assert_eq!("latest".parse(), Ok(Start::Latest));
        assert_eq!("1700000000000".parse(), Ok(Start::Timestamp(EventTime(1_700_000_000_000))));
        assert!("yesterday".parse::<Start>().is_err());
    }
}
