//! The readers of a base table, and how far they have read. This decides which rows a restore has to emit again, and
//! which versions may be removed.
//!
//! An output that was restored at watermark w continues from the view as it was at w. So base tables must have their
//! rows as of w, and all later versions.

use std::cell::RefCell;
use std::rc::Rc;

use tidemill_engine::EventTime;
use tidemill_engine::updates::Progress;

/// The readers of a base table, which are the outputs of views that depend on it. It is cheap to clone.
#[derive(Clone, Default)]
pub struct Readers(Rc<RefCell<Vec<Reader>>>);

#[derive(Clone)]
pub(super) struct Reader {
    pub(super) progress: Progress,
    /// The watermark of the reader in the restored checkpoint.
    pub(super) restored: Option<EventTime>,
}

impl Readers {
    fn add(&self, reader: Reader) {
        self.0.borrow_mut().push(reader);
    }

    /// Returns the time before which no reader will be restored: versions that were replaced by then are not needed
    /// again.
    ///
    /// A reader that is at w now is at w or later when the epoch ends, on each of its workers.
    pub(super) fn horizon(&self, watermark: EventTime) -> EventTime {
        self.0.borrow().iter().map(|reader| reader.progress.watermark()).fold(watermark, EventTime::min)
    }

    /// Returns the earliest time at which a reader continues after the restore. For every reader, all changes
    /// before it count as one.
    pub(super) fn floor(&self, watermark: EventTime) -> EventTime {
        self.0.borrow().iter().filter_map(|reader| reader.restored).fold(watermark, EventTime::min)
    }
}

/// The readers of all base tables that a view is computed from.
#[derive(Clone, Default)]
pub(super) struct Lineage(Vec<Readers>);

impl Lineage {
    pub(super) fn of(readers: Readers) -> Self {
        Self(vec![readers])
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        for readers in other.0 {
            if !self.0.iter().any(|known| Rc::ptr_eq(&known.0, &readers.0)) {
                self.0.push(readers);
            }
        }
        self
    }

    pub(super) fn add(&self, reader: &Reader) {
        self.0.iter().for_each(|readers| readers.add(reader.clone()));
    }
}

/// Returns when to check again whether what ended at `since` can be removed, after a check at `at`. The time since the
/// end doubles with each check, so that a leap of the watermark causes only a few checks. Returns `None` where time
/// ends.
pub(super) fn next_look(since: EventTime, at: EventTime) -> Option<EventTime> {
    const SOON_MS: i64 = 1000;
    let next = at.plus_ms(at.ms_since(since).max(SOON_MS));
    (next < EventTime::MAX).then_some(next)
}
