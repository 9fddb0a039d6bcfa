//! The position of a Kinesis source in each epoch: how far each shard was read, and which shards were read to their end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind, Remedy};

use super::api::StreamIdentity;
use crate::position::{self, Position};

/// How far a shard was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Read {
    /// Nothing was read. It begins where the source does.
    Begin,
    /// The last record that was read, and when it arrived at the service, in milliseconds since the Unix epoch.
    After { sequence: String, arrived: i64 },
    /// Everything was read, and no more will come: the shard was split or merged.
    Ended,
}

/// The place where reading a shard continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) read: Read,
    /// Everything that arrived until then was read, as far as is known; milliseconds since the Unix epoch, by the clock of the
    /// service.
    pub(super) read_until: Option<i64>,
    /// The watermark of the shard, event time in ms.
    pub(super) watermark: i64,
    /// The time since which nothing came from the shard, by the job's clock, in microseconds.
    pub(super) quiet_since: u64,
}

/// The places by the id of the shard.
pub(super) type Places = BTreeMap<String, Place>;

/// Where shards begin to be read. It is kept, so that a shard of which nothing was read yet begins there after a restart, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    TrimHorizon,
    /// Milliseconds since the Unix epoch, by the clock of the service. It is a time and not the end of a shard, which would be
    /// another one after a crash.
    Timestamp(i64),
}

/// The position of a worker, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) stream: StreamIdentity,
    pub(super) origin: Origin,
    pub(super) shards: Places,
}

impl Position for Stored {
    const VERSION: u8 = 1;
    const OF: &'static str = "a Kinesis source's";
}

/// Merges the positions of all workers of the restored run; `None` if nothing was restored. Each shard had one reader: two
/// positions for one shard are an error.
pub(super) fn merge(positions: &[Vec<u8>], stream: &StreamIdentity) -> Result<Option<Stored>, ConnectorError> {
    let mut merged: Option<Stored> = None;
    for bytes in positions {
        let stored: Stored = position::decode(bytes)?;
        check(&stored.stream, stream)?;
        let Some(all) = &mut merged else {
            merged = Some(stored);
            continue;
        };
        // Workers begin at moments of their own. A shard that no worker has begun begins at the first of them.
        all.origin = all.origin.min(stored.origin);
        for (id, place) in stored.shards {
            if all.shards.contains_key(&id) {
                let message = format!("the checkpoint has two positions for {id}; it is damaged");
                return Err(ConnectorError::new(ErrorKind::Data, message));
            }
            all.shards.insert(id, place);
        }
    }
    Ok(merged)
}

/// Refuses another stream than the one that was read, also one of the same name.
pub(super) fn check(was: &StreamIdentity, is: &StreamIdentity) -> Result<(), ConnectorError> {
    if was.arn != is.arn {
        let message =
            format!("the checkpoint was reading {}, and this run would read {}: name the same stream", was.arn, is.arn);
        return Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::StartOver));
    }
    if was.created != is.created {
        let message = format!(
            "{} was created at {}, and the job was reading one of the same name that was created at {}: the stream was \
             deleted and created again; start over in an empty checkpoint directory to read the new one",
            is.arn,
            time(is.created),
            time(was.created)
        );
        return Err(ConnectorError::new(ErrorKind::Data, message).remedy(Remedy::StartOver));
    }
    Ok(())
}

/// Returns a time in milliseconds since the Unix epoch as text.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(created: i64) -> StreamIdentity {
        StreamIdentity { arn: "arn:aws:kinesis:eu-west-1:1:stream/s".to_owned(), created }
    }

    fn stored(origin: Origin, shards: &[(&str, Read)]) -> Vec<u8> {
        let place = |read: &Read| Place { read: read.clone(), read_until: Some(5), watermark: 3, quiet_since: 4 };
        let shards = shards.iter().map(|(id, read)| ((*id).to_owned(), place(read))).collect();
        position::encode(&Stored { stream: identity(1), origin, shards }).unwrap()
    }

    fn after(sequence: &str) -> Read {
        Read::After { sequence: sequence.to_owned(), arrived: 2 }
    }

    #[test]
    fn positions_of_all_workers_are_merged() {
        let one = stored(Origin::Timestamp(7), &[("a", after("49")), ("b", Read::Ended)]);
        let other = stored(Origin::Timestamp(6), &[("c", Read::Begin)]);
        let merged = merge(&[one.clone(), other], &identity(1)).unwrap().unwrap();
        assert_eq!((merged.shards.len(), merged.origin), (3, Origin::Timestamp(6)));
        assert_eq!(merged.shards["a"].read, after("49"));
        assert_eq!(merge(&[], &identity(1)).unwrap(), None);
        let error = merge(&[one.clone(), one], &identity(1)).unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains("two positions for a"), "{error}");
    }

    #[test]
    fn another_stream_and_one_that_was_created_again_are_refused_with_both_sides() {
        let position = [stored(Origin::TrimHorizon, &[])];
        let error = merge(&position, &identity(2000)).unwrap_err().to_string();
        assert!(error.contains("created at 1970-01-01T00:00:02Z") && error.contains("00:00:00.001Z"), "{error}");
        let other = StreamIdentity { arn: "arn:other".to_owned(), created: 1 };
        let error = merge(&position, &other).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("arn:other"), "{error}");
        assert_eq!(merge(&[b"{}".to_vec()], &identity(1)).unwrap_err().kind(), ErrorKind::Data);
    }
}
