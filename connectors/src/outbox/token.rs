//! The token that an outbox stages in an epoch's delta: the identity of the output, and the output itself.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind};

const VERSION: u8 = 1;

/// Encodes a token: version u8 · length of the head u32 · head as JSON · output.
pub(crate) fn encode(head: &impl Serialize, output: &[&[u8]]) -> Result<Vec<u8>, ConnectorError> {
    let head = serde_json::to_vec(head)
        .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "a token's head cannot be encoded", e))?;
    let len: usize = output.iter().map(|chunk| chunk.len()).sum();
    let mut bytes = Vec::with_capacity(5 + head.len() + len);
    bytes.push(VERSION);
    let head_len = u32::try_from(head.len())
        .map_err(|e| ConnectorError::caused(ErrorKind::Invalid, "the names in a token's head are too long", e))?;
    bytes.extend(head_len.to_le_bytes());
    bytes.extend(head);
    output.iter().for_each(|chunk| bytes.extend(chunk.iter()));
    Ok(bytes)
}

/// Decodes a token of a sink that writes to `target`.
pub(crate) fn decode<'b, H: DeserializeOwned>(
    target: &str,
    epoch: Epoch,
    bytes: &'b [u8],
) -> Result<(H, &'b [u8]), ConnectorError> {
    let wrong = |what: String| damaged(epoch, &what);
    let (version, rest) = bytes.split_first().ok_or_else(|| wrong("is empty".to_owned()))?;
    if *version != VERSION {
        return Err(wrong(format!("is of version {version}, this build reads {VERSION}")));
    }
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(|| wrong("is cut off".to_owned()))?;
    let (head, output) =
        rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(|| wrong("is cut off".to_owned()))?;
    let head = serde_json::from_slice(head).map_err(|e| wrong(format!("is not a {target} sink's ({e})")))?;
    Ok((head, output))
}

/// Returns the error of a token that cannot be used.
pub(crate) fn damaged(epoch: Epoch, what: &str) -> ConnectorError {
    let message = format!("what the checkpoint staged in epoch {epoch} {what}; nothing was published");
    ConnectorError::new(ErrorKind::Data, message)
}
