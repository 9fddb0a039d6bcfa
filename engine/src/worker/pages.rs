//! Where the processes of a job serve HTTP, as they have told each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use crate::locks::lock;

/// Where the processes of a job serve HTTP. Empty in a job that serves nothing.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    own: OnceLock<SocketAddr>,
    others: Mutex<BTreeMap<usize, SocketAddr>>,
}

impl Pages {
    /// Says where this process serves. Only the first call has an effect.
    #[cfg(feature = "http")]
    pub(crate) fn begin(&self, address: SocketAddr) {
        self.own.get_or_init(|| address);
    }

    pub(crate) fn own(&self) -> Option<SocketAddr> {
        self.own.get().copied()
    }

    pub(crate) fn hear(&self, process: usize, address: SocketAddr) {
        lock(&self.others).insert(process, address);
    }

    /// Returns where another process serves, if it has said so.
    #[cfg(feature = "http")]
    pub(crate) fn of(&self, process: usize) -> Option<SocketAddr> {
        lock(&self.others).get(&process).copied()
    }
}
