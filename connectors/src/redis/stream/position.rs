//! The position of a source of streams in each epoch: the last entry of each stream that was handed out, and its watermark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::progress::Place;
use crate::position::{self, Position};

/// How far a stream was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamPosition {
    #[serde(flatten)]
    pub(super) place: Place,
    /// The watermark of the stream, event time in ms.
    pub(super) watermark: i64,
    /// The time since which nothing came from the stream, by the job's clock, in microseconds.
    pub(super) quiet_since: u64,
}

/// The positions by the key of the stream.
pub(super) type Streams = BTreeMap<String, StreamPosition>;

#[derive(Serialize, Deserialize)]
struct Stored {
    streams: Streams,
}

impl Position for Stored {
    const VERSION: u8 = 1;
    const OF: &'static str = "a Redis stream source's";
}

pub(super) fn encode(streams: Streams) -> Result<Vec<u8>, ConnectorError> {
    position::encode(&Stored { streams })
}

/// Merges the positions of all workers of the restored run, which must have read some of `keys`, and nothing else.
pub(super) fn merge(positions: &[Vec<u8>], keys: &[String]) -> Result<Streams, ConnectorError> {
    let mut streams = Streams::new();
    for bytes in positions {
        for (key, position) in position::decode::<Stored>(bytes)?.streams {
            if !keys.contains(&key) {
                let message = format!(
                    "the checkpoint was reading the stream \"{key}\", and this run reads {keys:?}: what was added to it since would \
                     not be read; name it, too, or start over in an empty checkpoint directory"
                );
                return Err(ConnectorError::new(ErrorKind::Invalid, message));
            }
            if streams.insert(key.clone(), position).is_some() {
                let message = format!("the checkpoint has two positions for the stream \"{key}\"; it is damaged");
                return Err(ConnectorError::new(ErrorKind::Data, message));
            }
        }
    }
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> StreamPosition {
        let last = format!("{ms}-1").parse().unwrap();
        StreamPosition { place: Place { last, passed: Some(ms) }, watermark: -3, quiet_since: 9 }
    }

    fn stored(keys: &[&str]) -> Vec<u8> {
        encode(keys.iter().map(|key| ((*key).to_owned(), at(key.len() as u64))).collect()).unwrap()
    }

    #[test]
    fn positions_of_all_workers_are_merged_and_foreign_ones_are_errors() {
        let keys = ["a", "bb", "c"].map(str::to_owned);
        let merged = merge(&[stored(&["a"]), stored(&["bb"])], &keys).unwrap();
        assert_eq!(merged, BTreeMap::from([("a".to_owned(), at(1)), ("bb".to_owned(), at(2))]));
        for (positions, kind, reason) in [
            (vec![stored(&["d"])], ErrorKind::Invalid, "was reading the stream \"d\""),
            (vec![stored(&["a"]), stored(&["a"])], ErrorKind::Data, "two positions"),
            (vec![b"{}".to_vec()], ErrorKind::Data, "not a Redis stream source's"),
        ] {
            let error = merge(&positions, &keys).unwrap_err();
            assert!(error.kind() == kind && error.to_string().contains(reason), "{error}");
        }
    }
}
