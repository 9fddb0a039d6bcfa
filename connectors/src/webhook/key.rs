//! The idempotency keys of requests.
//!
//! A key is `{start}-{epoch}-{worker}-{number}`. `start` is 16 hexadecimal digits of a hash of the start that staged the request and
//! of the sink's name: epochs begin at 1 again when a job starts anew, and after a restore epochs that never committed have other
//! records, so that without it a receiver would take a new request for an old one, and drop it. The rest says which request
//! of that start it is. All of it is in the token, or is counted in it, so each later start makes the same keys of it.

use sha2::{Digest, Sha256};
use tidemill_engine::Epoch;

/// Returns the part of the keys that the requests of one start and sink have in common.
pub(super) fn of_start(incarnation: u64, sink: &str) -> String {
    let hash = Sha256::new().chain_update(incarnation.to_le_bytes()).chain_update(sink).finalize();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the key of a request, the `number`-th of its worker's in its epoch.
pub(super) fn key(start: &str, epoch: Epoch, worker: usize, number: usize) -> String {
    format!("{start}-{epoch}-{worker}-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_starts_sinks_and_requests_are_different() {
        let mut keys = std::collections::BTreeSet::new();
        for (incarnation, sink) in [(7, "alerts"), (8, "alerts"), (7, "predictions")] {
            let start = of_start(incarnation, sink);
            assert_eq!((start.len(), &start), (16, &of_start(incarnation, sink)));
            for (epoch, worker, number) in [(1, 0, 0), (11, 0, 0), (1, 1, 0), (1, 10, 0), (1, 0, 1), (1, 1, 1)] {
                assert!(keys.insert(key(&start, Epoch(epoch), worker, number)));
            }
        }
        assert!(keys.iter().all(|key| key.len() <= 64 && key.is_ascii()));
    }
}
