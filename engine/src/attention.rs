//! Whether somebody looks: what only a page shows is gathered only while it is shown.

#[cfg(any(test, feature = "http"))]
use std::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicBool, Ordering};

/// Seconds for which something is gathered after somebody has looked.
#[cfg(any(test, feature = "http"))]
pub(crate) const SECONDS: u32 = 10;

/// Whether somebody has looked in the last seconds. It costs a relaxed load to ask.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    is_there: AtomicBool,
    #[cfg(any(test, feature = "http"))]
    remaining: AtomicU32,
}

impl Attention {
    /// Makes one that is always there.
    pub(crate) fn always() -> Self {
        Self { is_there: AtomicBool::new(true), ..Self::default() }
    }

    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }
}

#[cfg(any(test, feature = "http"))]
impl Attention {
    /// Notes that somebody looks.
    pub(crate) fn pay(&self) {
        self.remaining.store(SECONDS, Ordering::Relaxed);
        self.is_there.store(true, Ordering::Relaxed);
    }

    /// Counts a second. Returns whether somebody has looked in the last ones.
    pub(crate) fn next_second(&self) -> bool {
        let counted = self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if counted.is_err() {
            self.is_there.store(false, Ordering::Relaxed);
        }
        counted.is_ok()
    }
}
