//! Watermark alignment: the progress of each source in event time, so that no source runs ahead of the slowest
//! one, and an idle source follows the others.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

use crate::locks::whole;
use crate::time::EventTime;

/// The event-time progress of each source instance of this process, and of each other process as a whole.
pub(crate) struct SourceClocks {
    here: RwLock<Vec<Arc<SourceClock>>>,
    /// For each process: the progress of its slowest source, as last reported; idle until the first report.
    elsewhere: Vec<SourceClock>,
    /// The event time that records wait for in this process, by whom; nobody follows it.
    waits: RwLock<Vec<Arc<AtomicI64>>>,
}

/// The event-time progress of one source instance, and whether it is active.
pub(crate) struct SourceClock {
    watermark: AtomicI64,
    latest: AtomicI64,
    activity: AtomicU8,
}

/// The event-time progress of a source, or the least of several sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    pub(crate) watermark: EventTime,
    /// The event time that the watermark is derived from: the watermark stays behind it by the maximum
    /// out-of-orderness.
    pub(crate) latest: EventTime,
}

impl Reach {
    const NOWHERE: Self = Self { watermark: EventTime::MIN, latest: EventTime::MIN };

    fn least(self, other: Self) -> Self {
        Self { watermark: self.watermark.min(other.watermark), latest: self.latest.min(other.latest) }
    }

    /// Returns how far the watermark of an idle source may follow this one. When the idle source has records
    /// again, they may be out of order up to its own bound; without the limit they would be late merely because
    /// the source it follows is in better order.
    fn followed_within(self, out_of_orderness_ms: i64) -> EventTime {
        self.watermark.min(self.latest.plus_ms(-out_of_orderness_ms))
    }
}

/// Whether a source instance counts for watermark alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    Active,
    Idle,
    Done,
}

impl SourceClock {
    fn new(reach: Reach, activity: Activity) -> Self {
        Self {
            watermark: AtomicI64::new(reach.watermark.0),
            latest: AtomicI64::new(reach.latest.0),
            activity: AtomicU8::new(activity as u8),
        }
    }

    pub(crate) fn set(&self, reach: Reach, activity: Activity) {
        self.watermark.store(reach.watermark.0, Ordering::Relaxed);
        self.latest.store(reach.latest.0, Ordering::Relaxed);
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    fn reach(&self) -> Reach {
        let [watermark, latest] = [&self.watermark, &self.latest].map(|time| EventTime(time.load(Ordering::Relaxed)));
        Reach { watermark, latest }
    }

    fn is(&self, activity: Activity) -> bool {
        self.activity.load(Ordering::Relaxed) == activity as u8
    }
}

impl SourceClocks {
    pub(crate) fn new(processes: usize) -> Self {
        let elsewhere = (0..processes).map(|_| SourceClock::new(Reach::NOWHERE, Activity::Idle)).collect();
        Self { here: RwLock::default(), elsewhere, waits: RwLock::default() }
    }

    /// Adds an event time beyond which records wait; `EventTime::MAX` while they wait for nothing.
    pub(crate) fn register_wait(&self) -> Arc<AtomicI64> {
        let wait = Arc::new(AtomicI64::new(EventTime::MAX.0));
        whole(self.waits.write()).push(Arc::clone(&wait));
        wait
    }

    /// Returns the watermark up to which records go on: that of the slowest active source, or what records wait for.
    pub(crate) fn goes_on_until(&self) -> Option<EventTime> {
        let waits = whole(self.waits.read()).iter().map(|wait| EventTime(wait.load(Ordering::Relaxed))).min();
        let waits = waits.filter(|wait| *wait < EventTime::MAX);
        waits.into_iter().chain(self.least_active().map(|least| least.watermark)).min()
    }

    pub(crate) fn register(&self, reach: Reach) -> Arc<SourceClock> {
        let clock = Arc::new(SourceClock::new(reach, Activity::Active));
        whole(self.here.write()).push(Arc::clone(&clock));
        clock
    }

    /// Returns the least progress of the active source instances of this process; `None` when none is active.
    pub(crate) fn least_active_here(&self) -> Option<Reach> {
        let clocks = whole(self.here.read());
        clocks.iter().filter(|clock| clock.is(Activity::Active)).map(|clock| clock.reach()).reduce(Reach::least)
    }

    /// Returns the least progress of all active source instances, as far as it is known here.
    pub(crate) fn least_active(&self) -> Option<Reach> {
        let elsewhere = self.elsewhere.iter().filter(|clock| clock.is(Activity::Active)).map(SourceClock::reach);
        elsewhere.chain(self.least_active_here()).reduce(Reach::least)
    }

    /// Records what another process reported: the least progress of its active source instances, or that none is
    /// active.
    pub(crate) fn hear(&self, process: usize, least: Option<Reach>) {
        if let Some(clock) = self.elsewhere.get(process) {
            let activity = if least.is_some() { Activity::Active } else { Activity::Idle };
            clock.set(least.unwrap_or(Reach::NOWHERE), activity);
        }
    }

    /// Returns how far the watermark of a source instance may advance that has no records of its own to wait for:
    /// as far as the active ones, or, when none is active, as far as the furthest one of this process that is not
    /// done, so that records that have been read do not stay pending for ever.
    pub(crate) fn followed_within(&self, out_of_orderness_ms: i64) -> Option<EventTime> {
        if let Some(least) = self.least_active() {
            return Some(least.followed_within(out_of_orderness_ms));
        }
        let clocks = whole(self.here.read());
        let open = clocks.iter().filter(|clock| !clock.is(Activity::Done));
        open.map(|clock| clock.reach().followed_within(out_of_orderness_ms)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(watermark: i64, latest: i64) -> Reach {
        Reach { watermark: EventTime(watermark), latest: EventTime(latest) }
    }

    #[test]
    fn an_idle_source_follows_only_as_far_as_its_own_out_of_orderness_allows() {
        let clocks = SourceClocks::new(2);
        let strict = clocks.register(reach(100, 100));
        let loose = clocks.register(reach(20, 70));
        loose.set(reach(20, 70), Activity::Idle);
        assert_eq!(clocks.followed_within(50), Some(EventTime(50)), "50 behind what is latest");
        assert_eq!(clocks.followed_within(0), Some(EventTime(100)));
        // Following repeatedly does not advance the watermark any further.
        loose.set(reach(50, 100), Activity::Idle);
        strict.set(reach(100, 100), Activity::Idle);
        assert_eq!(clocks.followed_within(50), Some(EventTime(50)), "nobody is active");
        // A follower never passes the source that it follows.
        clocks.hear(1, Some(reach(10, 90)));
        assert_eq!(clocks.followed_within(0), Some(EventTime(10)));
        assert_eq!(clocks.followed_within(85), Some(EventTime(5)));
    }
}
