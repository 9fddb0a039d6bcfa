//! The requests of an epoch, as bytes that wait in a checkpoint.
//!
//! ```text
//! request: number of records u32 · length of the body u32 · body
//! ```

use std::num::TryFromIntError;
use std::ops::Range;

/// Appends a request.
pub(super) fn push(records: usize, body: &[u8], requests: &mut Vec<u8>) -> Result<(), TryFromIntError> {
    let (records, len) = (u32::try_from(records)?, u32::try_from(body.len())?);
    requests.extend(records.to_le_bytes());
    requests.extend(len.to_le_bytes());
    requests.extend(body);
    Ok(())
}

/// A request, and where its body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) records: usize,
    pub(super) body: Range<usize>,
}

/// Returns all requests; `None` if they are damaged.
pub(super) fn all(bytes: &[u8]) -> Option<Vec<Request>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    let (mut requests, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (records, len) = (number(at)?, number(at + 4)?);
        let body = at + 8..(at + 8).checked_add(len)?;
        bytes.get(body.clone())?;
        at = body.end;
        requests.push(Request { records, body });
    }
    Some(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written_and_damaged_ones_are_noticed() {
        let mut bytes = Vec::new();
        push(1, b"{}", &mut bytes).unwrap();
        push(2, b"[1,2]", &mut bytes).unwrap();
        let requests = all(&bytes).unwrap();
        let found: Vec<(usize, &[u8])> = requests.iter().map(|r| (r.records, &bytes[r.body.clone()])).collect();
        assert_eq!(found, [(1, &b"{}"[..]), (2, &b"[1,2]"[..])]);
        for len in 1..bytes.len() {
            assert_eq!(all(&bytes[..len]).is_some(), len == 10, "{len}");
        }
        assert_eq!(all(&[1, 0, 0, 0, 255, 255, 255, 255, 0]), None);
        assert_eq!(all(b""), Some(Vec::new()));
    }
}
