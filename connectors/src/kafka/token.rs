//! The token that an exactly-once sink stages in an epoch's delta: the identity of the output, and the output itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, Epoch};

use super::outgoing::messages;
use crate::outbox;

/// Encoded messages, one after the other. Shared by the token, the producer and the code that must produce them again.
pub(super) type Chunk = Arc<Vec<u8>>;

/// The identity of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenHead {
    pub(super) topic: String,
    /// The prefix of transactional ids and marker groups.
    pub(super) prefix: String,
    pub(super) worker: usize,
    /// Number of workers of the run, each of which may have left an open transaction.
    pub(super) workers: usize,
}

/// One worker's output of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) head: TokenHead,
    pub(super) messages: Vec<u8>,
}

pub(super) fn encode(head: &TokenHead, chunks: &[Chunk]) -> Result<Vec<u8>, ConnectorError> {
    let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_slice()).collect();
    outbox::encode(head, &chunks)
}

pub(super) fn decode(epoch: Epoch, bytes: &[u8]) -> Result<Token, ConnectorError> {
    let (head, staged) = outbox::decode("Kafka", epoch, bytes)?;
    if messages(staged).any(|message| message.is_none()) {
        return Err(outbox::damaged(epoch, "is damaged"));
    }
    Ok(Token { head, messages: staged.to_vec() })
}

#[cfg(test)]
mod tests {
    use tidemill_engine::ErrorKind;

    use super::*;
    use crate::kafka::outgoing::Outgoing;

    fn head() -> TokenHead {
        TokenHead { topic: "t".to_owned(), prefix: "p".to_owned(), worker: 1, workers: 2 }
    }

    #[test]
    fn a_token_comes_out_as_it_went_in_and_damage_is_reported() {
        let mut chunk = Vec::new();
        Outgoing { payload: Some(b"hello".to_vec()), ..Outgoing::default() }.encode(&mut chunk);
        let chunks = [Arc::new(chunk.clone()), Arc::new(chunk.clone())];
        let bytes = encode(&head(), &chunks).unwrap();
        let token = decode(Epoch(3), &bytes).unwrap();
        assert_eq!(token, Token { head: head(), messages: [chunk.clone(), chunk].concat() });
        for cut in [0, 3, 9, bytes.len() - 1] {
            let error = decode(Epoch(3), &bytes[..cut]).unwrap_err();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains("epoch 3"), "{error}");
        }
        let newer = [&[9], &bytes[1..]].concat();
        assert!(decode(Epoch(3), &newer).unwrap_err().to_string().contains("version 9"));
    }
}
