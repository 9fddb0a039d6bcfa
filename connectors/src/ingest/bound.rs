//! Where a source listens, for whoever wants to know.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tidemill_engine::locks::lock;

/// Where a source listens. Cheap to clone, and the same for all clones.
#[derive(Clone, Debug, Default)]
pub struct BoundAddress(Arc<Mutex<Option<SocketAddr>>>);

impl BoundAddress {
    /// Returns the address, with the port that the system has chosen if port 0 was asked for; `None` until the source listens, and
    /// in processes that do not have the first worker.
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        *lock(&self.0)
    }

    pub(super) fn set(&self, address: SocketAddr) {
        *lock(&self.0) = Some(address);
    }
}
