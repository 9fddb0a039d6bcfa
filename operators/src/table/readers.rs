//! Who reads a base table, and how far they are: what a restore has to bring back, and what may be forgotten.
//!
//! An output that was restored at watermark w goes on from the view as it was at w. So base tables have to know their
//! rows as of w, and all since.

use std::cell::RefCell;
use std::rc::Rc;

use tidemill_engine::EventTime;
use tidemill_engine::updates::Progress;

/// The outputs of views that a base table is in. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readers(Rc<RefCell<Vec<Reader>>>);

#[derive(Clone)]
pub(super) struct Reader {
    pub(super) progress: Progress,
    /// Its watermark in the restored checkpoint.
    pub(super) restored: Option<EventTime>,
}

impl Readers {
    fn add(&self, reader: Reader) {
        self.0.borrow_mut().push(reader);
    }

    /// No reader will be restored to before this: rows that were over by then are not asked for again.
    ///
    /// A reader that is at w now is at w or later when the epoch ends, on each of its workers.
    pub(super) fn horizon(&self, watermark: EventTime) -> EventTime {
        self.0.borrow().iter().map(|reader| reader.progress.watermark()).fold(watermark, EventTime::min)
    }

    /// Where readers go on after the restore, at the earliest: what was before is one to all of them.
    pub(super) fn floor(&self, watermark: EventTime) -> EventTime {
        self.0.borrow().iter().filter_map(|reader| reader.restored).fold(watermark, EventTime::min)
    }
}

/// The readers of all base tables that a view is made of.
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

/// When to look again whether what ended at `since` can be forgotten, after a look at `at`: twice as late each time, so
/// that a leap of the watermark is a few looks. Nothing where time ends.
pub(super) fn next_look(since: EventTime, at: EventTime) -> Option<EventTime> {
    const SOON_MS: i64 = 1000;
    let next = at.plus_ms(at.ms_since(since).max(SOON_MS));
    (next < EventTime::MAX).then_some(next)
}
