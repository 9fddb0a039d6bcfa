//! The position of an HTTP source in each epoch: how many requests were handed out, and the keys of the last ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::keys::{Key, Known};
use crate::position::{self, Position};

/// Bytes of a key in a position.
const BYTES: usize = 24;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    /// Number of requests that were handed out since the start of the run.
    pub(super) handed_out: u64,
    /// The watermark, event time in ms.
    pub(super) watermark: i64,
    /// The time since which nothing came, by the job's clock, in microseconds.
    pub(super) quiet_since: u64,
    /// Keys of requests that were handed out, the oldest first: 24 bytes each, in base64, since there may be many in each epoch.
    keys: String,
}

impl Position for Stored {
    const VERSION: u8 = 1;
    const OF: &'static str = "an HTTP source's";
}

/// How many requests were handed out: all that a commit has to know.
#[derive(Serialize, Deserialize)]
pub(super) struct End {
    pub(super) handed_out: u64,
}

impl Position for End {
    const VERSION: u8 = Stored::VERSION;
    const OF: &'static str = Stored::OF;
}

impl Stored {
    pub(super) fn new<'a>(
        handed_out: u64,
        watermark: i64,
        quiet_since: u64,
        keys: impl Iterator<Item = &'a Known>,
    ) -> Self {
        let mut bytes = Vec::new();
        for Known { key: Key { id, fingerprint }, records, seconds } in keys {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
            bytes.extend_from_slice(&records.to_le_bytes());
            bytes.extend_from_slice(&seconds.to_le_bytes());
        }
        Self { handed_out, watermark, quiet_since, keys: STANDARD.encode(bytes) }
    }

    fn keys(&self) -> Option<Vec<Known>> {
        let bytes = STANDARD.decode(&self.keys).ok().filter(|bytes| bytes.len() % BYTES == 0)?;
        let known = |bytes: &[u8]| {
            let (id, rest) = bytes.split_first_chunk()?;
            let (fingerprint, rest) = rest.split_first_chunk()?;
            let (records, rest) = rest.split_first_chunk()?;
            let (seconds, _) = rest.split_first_chunk()?;
            let key = Key { id: u64::from_le_bytes(*id), fingerprint: u64::from_le_bytes(*fingerprint) };
            Some(Known { key, records: u32::from_le_bytes(*records), seconds: u32::from_le_bytes(*seconds) })
        };
        bytes.chunks(BYTES).map(known).collect()
    }
}

/// What the positions of all workers of the last run say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Restored {
    pub(super) watermark: i64,
    pub(super) quiet_since: Option<u64>,
    /// The oldest first.
    pub(super) keys: Vec<Known>,
}

/// Merges the positions of all workers. Only the first one of a run has anything in it.
pub(super) fn merge(positions: &[Vec<u8>]) -> Result<Restored, ConnectorError> {
    let mut merged = Restored { watermark: i64::MIN, quiet_since: None, keys: Vec::new() };
    for bytes in positions {
        let stored: Stored = position::decode(bytes)?;
        let damaged = || ConnectorError::new(ErrorKind::Data, "the keys in the position of an HTTP source are damaged");
        merged.keys.extend(stored.keys().ok_or_else(damaged)?);
        merged.watermark = merged.watermark.max(stored.watermark);
        merged.quiet_since = merged.quiet_since.max(Some(stored.quiet_since));
    }
    merged.keys.sort_by_key(|known| known.seconds);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u64, seconds: u32) -> Known {
        Known { key: Key { id, fingerprint: u64::MAX - id }, records: 7, seconds }
    }

    #[test]
    fn positions_of_all_workers_are_merged() {
        let of = |keys: &[Known], watermark| position::encode(&Stored::new(3, watermark, 9, keys.iter())).unwrap();
        let keys = [known(1, 5), known(u64::MAX, u32::MAX)];
        let merged = merge(&[of(&[], i64::MIN), of(&keys, 77), of(&[known(4, 8)], 5)]).unwrap();
        let keys = vec![keys[0], known(4, 8), keys[1]];
        assert_eq!(merged, Restored { watermark: 77, quiet_since: Some(9), keys });
        assert_eq!(position::decode::<End>(&of(&[], 0)).unwrap().handed_out, 3);
        assert_eq!(merge(&[]).unwrap(), Restored { watermark: i64::MIN, quiet_since: None, keys: Vec::new() });
    }

    #[test]
    fn a_damaged_or_foreign_position_is_an_error() {
        for bytes in [
            &br#"{"version":1,"handed_out":1,"watermark":0,"quiet_since":0,"keys":"AAAA"}"#[..],
            br#"{"version":1,"handed_out":1,"watermark":0,"quiet_since":0,"keys":"?"}"#,
            b"{}",
        ] {
            assert_eq!(merge(&[bytes.to_vec()]).unwrap_err().kind(), ErrorKind::Data);
        }
    }
}
