//! What a user decides about an outbox.

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, Epoch};

/// The policy of a restart that finds staged output without its marker, so that it is unknown whether the output was
/// published. Kafka's brokers delete a marker when nothing was committed for `offsets.retention.minutes` (7 days); a
/// database keeps it until somebody deletes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostMarker {
    /// Stop with an error.
    #[default]
    Refuse,
    /// Publish the output: it may be there twice.
    Publish,
    /// Discard the output: it may never be there.
    Skip,
}

impl LostMarker {
    /// Returns the epoch that counts as published, if that is not to stop the start with an error.
    pub(crate) fn published(
        self,
        restored: Epoch,
        refused: impl FnOnce() -> ConnectorError,
    ) -> Result<Epoch, ConnectorError> {
        match self {
            Self::Publish => Ok(Epoch(0)),
            Self::Skip => Ok(restored),
            Self::Refuse => Err(refused()),
        }
    }
}
