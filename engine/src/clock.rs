//! The only access to the wall clock, so that tests and replays can set it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::record::Arrival;
use crate::time::ProcessingTime;

/// The wall clock of a job: the machine's, or a manual one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// Makes a clock that stands at `at` until [`set`](Self::set) moves it.
    #[must_use]
    pub fn manual(at: Arrival) -> Self {
        Self(Some(Arc::new(AtomicU64::new(at.0))))
    }

    /// Returns whether it is the machine's clock.
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// Sets a manual clock to `to`, which may be earlier than before; has no effect on the machine's clock.
    pub fn set(&self, to: Arrival) {
        if let Some(manual) = &self.0 {
            manual.store(to.0, Ordering::Relaxed);
        }
    }

    /// Returns the time in microseconds since the Unix epoch, UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn now(&self) -> Arrival {
        let micros = match &self.0 {
            Some(manual) => manual.load(Ordering::Relaxed),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64),
        };
        Arrival(micros)
    }

    /// Returns the time as processing time, which is measured in milliseconds.
    #[must_use]
    pub fn processing_time(&self) -> ProcessingTime {
        ProcessingTime((self.now().0 / 1000) as i64)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Clock::system"),
            Some(_) => write!(f, "Clock::manual({})", self.now().0),
        }
    }
}
