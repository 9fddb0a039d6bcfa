//! The blobs of a checkpoint: small values that sources, operators and sinks keep in it, by name, besides keyed
//! state.
//!
//! ```text
//! name in the delta            value, after one byte for its version
//! source/NAME/position         where its reader goes on, in the connector's own encoding
//! source/NAME/watermark        i64
//! operator/NAME/watermark      i64
//! operator/NAME/reached        u16 key group and i64, for each group whose state is ahead of that
//! operator/NAME/seen           what a process has seen for decisions, in the operator's own encoding
//! sink/NAME/staged/EPOCH       the token it staged in that epoch, in the connector's own encoding
//! sink/NAME/published          u64: the newest epoch up to which it has published here, if the next one is less
//! worker/published             u64: the newest epoch up to which all sinks have published here
//! ```
//! Numbers are little-endian. Only this module knows names and encodings: an operator that closes an epoch puts a
//! [`Blob`] into its delta, and a restore asks [`Restored`](super::restored::Restored). A value that cannot be
//! read stops the start: if it were taken for missing, a source would read everything again, or a watermark would
//! go back.

use std::collections::BTreeMap;

use tidemill_state::Delta;

use crate::time::{Epoch, EventTime};

/// The version of the encoding of all values.
const VERSION: u8 = 1;

/// The key groups whose state is ahead of the watermark of their operator, each with the watermark it has reached.
pub(crate) type Ahead = BTreeMap<u16, EventTime>;

/// A value of a source, an operator, a sink or a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blob {
    SourcePosition(Vec<u8>),
    SourceWatermark(EventTime),
    OperatorWatermark(EventTime),
    Reached(Ahead),
    /// What a process has seen for the decisions of an operator.
    Seen(Vec<u8>),
    Staged(Epoch, Vec<u8>),
    /// The newest epoch up to which a sink has published the worker's output.
    PublishedBySink(Epoch),
    /// The newest epoch up to which all sinks have published the worker's output.
    Published(Epoch),
}

/// The reason why a value cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A description of the value for the user of the job.
    pub(super) what: String,
    pub(super) reason: String,
}

impl Blob {
    /// Puts the value into a worker's delta. `owner` is the name of the source, operator or sink.
    pub(crate) fn put(self, owner: &str, delta: &mut Delta) {
        delta.set_blob(self.name(owner), self.encode());
    }

    fn name(&self, owner: &str) -> String {
        match self {
            Self::SourcePosition(_) => format!("source/{owner}/position"),
            Self::SourceWatermark(_) => format!("source/{owner}/watermark"),
            Self::OperatorWatermark(_) => format!("operator/{owner}/watermark"),
            Self::Reached(_) => format!("operator/{owner}/reached"),
            Self::Seen(_) => format!("operator/{owner}/seen"),
            Self::Staged(epoch, _) => format!("sink/{owner}/staged/{epoch}"),
            Self::PublishedBySink(_) => format!("sink/{owner}/published"),
            Self::Published(_) => "worker/published".to_owned(),
        }
    }

    /// Returns whether the value of this name is output of a sink: what a restore needs of a delta whose state is in the
    /// base.
    pub(super) fn is_output(name: &str) -> bool {
        name.starts_with("sink/")
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        match self {
            Self::SourcePosition(own) | Self::Seen(own) | Self::Staged(_, own) => bytes.extend(own),
            Self::SourceWatermark(time) | Self::OperatorWatermark(time) => bytes.extend(time.0.to_le_bytes()),
            Self::Published(epoch) | Self::PublishedBySink(epoch) => bytes.extend(epoch.0.to_le_bytes()),
            Self::Reached(ahead) => {
                for (group, time) in ahead {
                    bytes.extend(group.to_le_bytes());
                    bytes.extend(time.0.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// Decodes the value that a delta has under `name`. Returns it with the name of its owner, which is empty for
    /// a value of the worker.
    pub(super) fn decode<'n>(name: &'n str, bytes: &[u8]) -> Result<(&'n str, Self), Fault> {
        let parts: Vec<&str> = name.split('/').collect();
        let decoded = versioned(bytes).and_then(|value| match parts[..] {
            ["source", owner, "position"] => Ok((owner, Self::SourcePosition(value.to_vec()))),
            ["source", owner, "watermark"] => Ok((owner, Self::SourceWatermark(time(value)?))),
            ["operator", owner, "watermark"] => Ok((owner, Self::OperatorWatermark(time(value)?))),
            ["operator", owner, "reached"] => Ok((owner, Self::Reached(ahead(value)?))),
            ["operator", owner, "seen"] => Ok((owner, Self::Seen(value.to_vec()))),
            ["sink", owner, "staged", epoch] => {
                let epoch = epoch.parse().map_err(|_| format!("is of epoch \"{epoch}\", which is not a number"))?;
                Ok((owner, Self::Staged(Epoch(epoch), value.to_vec())))
            }
            ["sink", owner, "published"] => Ok((owner, Self::PublishedBySink(epoch_in(value)?))),
            ["worker", "published"] => Ok(("", Self::Published(epoch_in(value)?))),
            _ => Err("is of a kind that this build does not know".to_owned()),
        });
        decoded.map_err(|reason| Fault { what: describe(&parts, name), reason })
    }
}

fn describe(parts: &[&str], name: &str) -> String {
    match parts {
        ["sink", owner, "staged", epoch] => staged_output(owner, epoch),
        ["sink", owner, "published"] => format!("the number of the newest epoch that sink \"{owner}\" has published"),
        [kind @ ("source" | "operator"), owner, what] => format!("the {what} of {kind} \"{owner}\""),
        ["worker", "published"] => "the number of the newest published epoch".to_owned(),
        _ => format!("\"{name}\""),
    }
}

/// Describes the staged output of a sink for the user of the job.
pub(super) fn staged_output(sink: &str, epoch: impl std::fmt::Display) -> String {
    format!("output of sink \"{sink}\" of epoch {epoch}, which may not have been published")
}

fn versioned(bytes: &[u8]) -> Result<&[u8], String> {
    match bytes {
        [VERSION, value @ ..] => Ok(value),
        [version, ..] => Err(format!("is stored as version {version}, this build reads version {VERSION}")),
        [] => Err("is empty".to_owned()),
    }
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], String> {
    value.try_into().map_err(|_| format!("has {} bytes, {N} are expected", value.len()))
}

fn epoch_in(value: &[u8]) -> Result<Epoch, String> {
    exactly(value).map(u64::from_le_bytes).map(Epoch)
}

fn time(value: &[u8]) -> Result<EventTime, String> {
    exactly(value).map(i64::from_le_bytes).map(EventTime)
}

fn ahead(value: &[u8]) -> Result<Ahead, String> {
    const GROUP: usize = size_of::<u16>();
    const ENTRY: usize = GROUP + size_of::<i64>();
    if !value.len().is_multiple_of(ENTRY) {
        return Err(format!("has {} bytes, a multiple of {ENTRY} is expected", value.len()));
    }
    let entries = value.chunks_exact(ENTRY).map(|entry| {
        let (group, at) = entry.split_at(GROUP);
        Ok((u16::from_le_bytes(exactly(group)?), time(at)?))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Blob; 8] {
        [
            Blob::SourcePosition(b"line 7".to_vec()),
            Blob::SourceWatermark(EventTime(-3)),
            Blob::OperatorWatermark(EventTime::MAX),
            Blob::Reached(Ahead::from([(0, EventTime(1)), (300, EventTime::MIN)])),
            Blob::Seen(b"half".to_vec()),
            Blob::Staged(Epoch(12), Vec::new()),
            Blob::PublishedBySink(Epoch(4)),
            Blob::Published(Epoch(u64::MAX)),
        ]
    }

    #[test]
    fn what_is_put_is_what_is_read() {
        for blob in all() {
            let (name, bytes) = (blob.name("sums"), blob.clone().encode());
            let owner = if matches!(blob, Blob::Published(_)) { "" } else { "sums" };
            assert_eq!(Blob::decode(&name, &bytes), Ok((owner, blob)), "{name}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        for blob in all() {
            let (name, mut bytes) = (blob.name("sums"), blob.encode());
            bytes[0] = VERSION + 1;
            let fault = Blob::decode(&name, &bytes).unwrap_err();
            assert_eq!(fault.reason, "is stored as version 2, this build reads version 1", "{name}");
            assert_eq!(Blob::decode(&name, &[]).unwrap_err().reason, "is empty", "{name}");
        }
    }

    #[test]
    fn another_length_is_refused() {
        for blob in all() {
            let (name, own) =
                (blob.name("sums"), matches!(blob, Blob::SourcePosition(_) | Blob::Seen(_) | Blob::Staged(..)));
            let bytes = blob.encode();
            let cut = Blob::decode(&name, &bytes[..bytes.len() - 1]);
            let more = Blob::decode(&name, &[&bytes[..], &[0]].concat());
            // Connectors and operators decide the length of their own values; but no value is valid without its version byte.
            let refused = |read: &Result<(&str, Blob), Fault>| read.as_ref().is_err_and(|e| e.reason.contains("bytes"));
            assert!(own || (refused(&cut) && refused(&more)), "{name}: {cut:?}, {more:?}");
        }
    }

    #[test]
    fn a_fault_names_what_it_belongs_to() {
        let what = |name: &str| Blob::decode(name, b"\x01?").unwrap_err().what;
        assert_eq!(what("operator/sums/watermark"), "the watermark of operator \"sums\"");
        assert_eq!(what("source/cards/watermark"), "the watermark of source \"cards\"");
        assert_eq!(what("worker/published"), "the number of the newest published epoch");
        assert_eq!(what("source/cards/mood"), "the mood of source \"cards\"");
        assert_eq!(what("sink/out/staged/x"), "output of sink \"out\" of epoch x, which may not have been published");
        assert_eq!(what("sink/out/published"), "the number of the newest epoch that sink \"out\" has published");
        assert_eq!(what("weather"), "\"weather\"");
    }
}
