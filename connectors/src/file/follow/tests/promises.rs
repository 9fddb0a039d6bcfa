//! The watermark of followed files: lines within the bound are not late, and idle files hold nothing back.

use super::*;

/// The time of a new line, relative to the lines before it.
#[derive(Clone, Copy, Debug)]
enum Time {
    /// This many milliseconds before the latest time of all files, within the bound.
    BehindAll(i64),
    /// This many milliseconds before the latest time of its own file, within the bound; but not before the watermark at
    /// which the file was idle.
    BehindOwn(i64),
    Ahead(i64),
}

const BOUND_MS: i64 = 10_000;

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        (0..=BOUND_MS).prop_map(Time::BehindAll),
        (0..=BOUND_MS).prop_map(Time::BehindOwn),
        (0..40_000i64).prop_map(Time::Ahead),
    ]
}

/// The watermark of the reader, and for each file what the test needs to choose times that must not be late.
struct Promises {
    world: World,
    promised: EventTime,
    latest: [Option<i64>; FILES.len()],
    /// The clock at the last line of each file.
    last: [u64; FILES.len()],
    floor: [EventTime; FILES.len()],
}

impl Promises {
    fn write(&mut self, file: usize, time: Time) {
        let own = self.latest[file].unwrap_or(0).saturating_sub(match time {
            Time::BehindOwn(ms) => ms,
            _ => 0,
        });
        let all = self.latest.iter().flatten().max().copied().unwrap_or(0);
        let ts = match time {
            Time::BehindAll(ms) => all - ms,
            Time::BehindOwn(_) => own.max(self.floor[file].0),
            Time::Ahead(ms) => all + ms,
        };
        let line = Line { id: self.world.next, ts, pad: String::new() };
        self.world.next += 1;
        let mut to = OpenOptions::new().append(true).open(self.world.path(file, "")).unwrap();
        writeln!(to, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        self.latest[file] = self.latest[file].max(Some(ts));
        self.last[file] = self.world.now.0;
    }

    /// Reads to the end of all files, and checks that no record is before the watermark.
    fn look(&mut self) -> Result<(), TestCaseError> {
        loop {
            let mut batch = Batch::new(self.world.now);
            let next = self.world.readers[0].read(&mut batch).unwrap();
            for record in batch.records() {
                prop_assert!(record.event_time >= self.promised, "{:?} is late at {:?}", record, self.promised);
            }
            self.promised = self.promised.max(batch.watermark().unwrap_or(EventTime::MIN));
            if next != Next::Now {
                break;
            }
        }
        for file in 0..FILES.len() {
            if self.world.now.0 - self.last[file] >= 5_000_000 {
                self.floor[file] = self.promised;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200 * testkit::times() as u32))]

    /// A line is never late if it is within the bound of its own file or, after the file was idle, of all files. A file
    /// that is idle for longer than the setting does not hold back the watermark.
    #[test]
    fn bursts_within_the_bound_are_not_late_and_idle_files_hold_nothing_back(
        acts in prop::collection::vec((0..FILES.len(), 0..4_000u64, prop::collection::vec(time(), 0..4)), 1..40),
    ) {
        let bound = Duration::from_millis(BOUND_MS as u64);
        let mut world = World::new(false, |source| source.max_out_of_orderness(bound).idle_after(Duration::from_secs(5)));
        world.start(1).unwrap();
        let none = EventTime::MIN;
        let mut promises =
            Promises { world, promised: none, latest: [None; FILES.len()], last: [0; FILES.len()], floor: [none; FILES.len()] };
        promises.look()?;
        for (file, ms, times) in acts {
            promises.world.now.0 += ms * 1_000;
            promises.look()?;
            times.into_iter().for_each(|time| promises.write(file, time));
            promises.look()?;
        }
        promises.world.now.0 += 5_000_000;
        promises.look()?;
        let latest = promises.latest.iter().flatten().max();
        prop_assert_eq!(promises.promised, latest.map_or(none, |latest| EventTime(latest - BOUND_MS)));
    }
}
