//! The connections that were refused while the mesh formed: all are counted, and so few are logged that a port
//! scan does not fill the disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::locks::lock;
use crate::threads;
/// The refused connections, by reason. Shared by the door of the process and its status page.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    by_reason: BTreeMap<&'static str, u64>,
    log: Throttle,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(Counts { by_reason: BTreeMap::new(), log: Throttle::new(threads::now()) }))
    }
}

impl Refusals {
    /// Counts a refusal under `kind`, and logs a warning.
    pub(super) fn note(&self, from: SocketAddr, kind: &'static str, reason: &str) {
        let mut counts = lock(&self.0);
        *counts.by_reason.entry(kind).or_default() += 1;
        match counts.log.pass(threads::now()) {
            Some(0) => tracing::warn!(%from, kind, reason, "a connection to the mesh is refused"),
            Some(unsaid) => tracing::warn!(%from, kind, reason, unsaid, "a connection to the mesh is refused"),
            None => {}
        }
    }

    /// Returns the number of refusals by reason.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = lock(&self.0);
        counts.by_reason.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }
}

/// A limit on log lines: some at once, and one per second after that.
#[derive(Debug)]
struct Throttle {
    left: u32,
    since: Instant,
    unsaid: u64,
}

impl Throttle {
    const AT_ONCE: u32 = 10;

    fn new(now: Instant) -> Self {
        Self { left: Self::AT_ONCE, since: now, unsaid: 0 }
    }

    /// Returns `None` if a line has to be suppressed; otherwise the number of lines suppressed since the last one.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.left = self.left.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)).min(Self::AT_ONCE);
            self.since += Duration::from_secs(seconds);
        }
        if self.left == 0 {
            self.unsaid += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_a_line_a_second() {
        let now = threads::now();
        let mut log = Throttle::new(now);
        let passed = (0..1000).filter(|_| log.pass(now).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(log.pass(now + Duration::from_secs(1)), Some(990));
        assert_eq!(log.pass(now + Duration::from_secs(1)), None);
    }
}
