//! Lookups on the worker and on threads, with a service that is slow, fails, hangs or panics.

mod simulated;

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::ProgramTest;

use testkit::script::{cases, sorted};

type Rows = Vec<Option<u32>>;
type Loaded = Vec<(u32, Option<u32>)>;

/// A service whose answers depend on the keys: multiples of 5 have no row, calls with multiples of 7 always fail, and
/// calls with multiples of 11 fail twice. It records the keys of calls that failed at the last try.
#[derive(Clone, Default)]
struct Service {
    failed: Arc<Mutex<HashSet<u32>>>,
    rows: Arc<AtomicUsize>,
}

impl Service {
    const RETRIES: u32 = 2;

    /// Opens a connection whose caller tries a failed call `tries` times in total.
    fn connect(&self, tries: u32) -> impl FnMut(&[u32]) -> Result<Rows, std::io::Error> + Send + use<> {
        let (service, mut refused) = (self.clone(), 0);
        move |keys| {
            let hard = keys.iter().any(|key| key % 7 == 0);
            let soft = keys.iter().any(|key| key % 11 == 0);
            if hard || (soft && refused < Self::RETRIES) {
                refused += 1;
                if refused == tries {
                    service.failed.lock().unwrap().extend(keys);
                    refused = 0;
                }
                return Err(std::io::Error::other("refused"));
            }
            refused = 0;
            service.rows.fetch_add(keys.len(), Ordering::Relaxed);
            Ok(keys.iter().map(|key| row(*key)).collect())
        }
    }
}

fn row(key: u32) -> Option<u32> {
    (!key.is_multiple_of(5)).then_some(key * 10)
}

proptest! {
    #![proptest_config(cases(150))]

    /// Each record is emitted once: with the row of its key, or as a dead letter if its key was in a batch that failed.
    #[test]
    fn every_record_has_its_row_or_a_reason(
        keys in prop::collection::vec(0..60_u32, 0..300),
        batch in 1..40_usize,
        cache_rows in 0..80_usize,
        pool in prop::option::of((1..4_usize, any::<bool>())),
        workers in 1..4_usize,
    ) {
        let service = Service::default();
        let (found, letters) = (CollectSink::default(), CollectSink::<DeadLetter>::default());
        let source = vec_source((0..).map(EventTime).zip(keys.clone()).collect());
        let (asked, to, dead) = (service.clone(), found.clone(), letters.clone());
        let job = JobArgs {
            settings: JobSettings { workers, ..JobSettings::default() },
            log_level: "off".to_owned(),
            ..JobArgs::default()
        };
        let ordered = pool.is_none_or(|(_, ordered)| ordered);
        Job::new("lookups", job).run(move |flow| {
            let settings = LookupSettings { max_batch_size: batch, cache_rows, ..LookupSettings::default() };
            let keys = flow.source("keys", &source)?;
            let rows = match pool {
                None => keys.lookup_join("rows", &settings, |key| *key, asked.connect(1))?,
                Some((threads, ordered)) => {
                    let threads = NonZeroUsize::new(threads).unwrap();
                    let pool = PoolSettings { threads, ordered, ..PoolSettings::default() };
                    let backoff = Duration::from_micros(1);
                    let fetching = FetchSettings { pool, retries: Service::RETRIES, backoff };
                    let asked = asked.clone();
                    let open = move || asked.connect(1 + Service::RETRIES);
                    keys.lookup_join_async("rows", &settings, &fetching, |key| *key, open)?
                }
            };
            rows.sink("found", &to)?;
            flow.dead_letters().sink("letters", &dead)
        }).unwrap();
        let found = found.data();
        prop_assert!(found.iter().all(|(key, value)| *value == row(*key)), "{found:?}");
        let dead: Vec<u32> = letters.data().iter().map(|letter| letter.content.parse().unwrap()).collect();
        let failed = service.failed.lock().unwrap();
        prop_assert!(dead.iter().all(|key| failed.contains(key)), "{dead:?} died, {failed:?} failed");
        let all = found.iter().map(|(key, _)| *key).chain(dead.iter().copied()).collect();
        prop_assert_eq!(sorted(all), sorted(keys.clone()));
        if workers == 1 && ordered {
            // The records that were found keep the order of the input.
            let mut left: BTreeMap<u32, usize> = BTreeMap::new();
            dead.iter().for_each(|key| *left.entry(*key).or_default() += 1);
            let mut at = keys.iter();
            for (key, _) in &found {
                prop_assert!(at.any(|next| next == key), "{found:?} of {keys:?}");
            }
        }
        if cache_rows >= 60 && pool.is_none() {
            let different = keys.iter().collect::<HashSet<_>>().len();
            prop_assert!(service.rows.load(Ordering::Relaxed) <= different * workers, "fetched once, then cached");
        }
    }
}

#[test]
fn a_thread_that_hangs_or_panics_costs_its_batch() {
    let found = CollectSink::default();
    let letters = CollectSink::<DeadLetter>::default();
    let source = vec_source((0..40_u32).map(|key| (EventTime(i64::from(key)), key)).collect());
    let (to, dead) = (found.clone(), letters.clone());
    let report = Job::new("lookups", JobArgs { log_level: "off".to_owned(), ..JobArgs::default() })
        .run(move |flow| {
            let settings = LookupSettings { max_batch_size: 1, ..LookupSettings::default() };
            let deadline = Some(Duration::from_millis(300));
            let pool = PoolSettings { deadline, ..PoolSettings::default() };
            let fetching = FetchSettings { pool, retries: 0, ..FetchSettings::default() };
            let open = || {
                |keys: &[u32]| -> Result<Rows, std::io::Error> {
                    if keys == [13] {
                        std::thread::park_timeout(Duration::from_secs(3));
                    }
                    assert_ne!(keys, [17], "no such key");
                    Ok(keys.iter().map(|key| row(*key)).collect())
                }
            };
            flow.source("keys", &source)?
                .lookup_join_async("rows", &settings, &fetching, |key| *key, open)?
                .sink("found", &to)?;
            flow.dead_letters().sink("letters", &dead)
        })
        .unwrap();
    assert_eq!(report.in_flight, 0);
    let expected: Vec<_> = (0..40).filter(|key| ![13, 17].contains(key)).map(|key| (key, row(key))).collect();
    assert_eq!(found.data(), expected, "in order");
    let reasons: BTreeMap<String, String> =
        letters.data().into_iter().map(|letter| (letter.content, letter.reason)).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons["13"].contains("no answer within 300ms"), "{reasons:?}");
    assert!(reasons["17"].contains("no such key"), "{reasons:?}");
}

#[test]
fn preloaded_rows_are_there_before_the_first_record() {
    let run = |load: fn() -> Result<Loaded, std::io::Error>| {
        let (found, fetched) = (CollectSink::default(), Arc::new(AtomicUsize::new(0)));
        let (to, count) = (found.clone(), Arc::clone(&fetched));
        let source = vec_source((0..6_u32).map(|key| (EventTime(0), key)).collect());
        let result =
            Job::new("lookups", JobArgs { log_level: "off".to_owned(), ..JobArgs::default() }).run(move |flow| {
                let count = Arc::clone(&count);
                let fetch = move |keys: &[u32]| {
                    count.fetch_add(keys.len(), Ordering::Relaxed);
                    Ok::<_, std::io::Error>(keys.iter().map(|key| row(*key)).collect::<Rows>())
                };
                let cache = LookupSettings { cache_rows: 4, ..LookupSettings::default() }.preloaded(load);
                flow.source("keys", &source)?.lookup_join("rows", cache, |key| *key, fetch)?.sink("found", &to)
            });
        result.map(|_| (sorted(found.data()), fetched.load(Ordering::Relaxed)))
    };
    let ten_times = [(0, None), (1, Some(10)), (2, Some(20)), (3, Some(30)), (4, Some(40)), (5, None)];
    assert_eq!(run(|| Ok((0..10).map(|key| (key, row(key))).collect())).unwrap(), (ten_times.to_vec(), 2));
    let error = run(|| Err(std::io::Error::other("no such table"))).unwrap_err();
    assert!(error.report().contains("cannot be preloaded: no such table"), "{}", error.report());
}

#[test]
fn a_lookup_is_cached_expires_and_its_failures_are_dead_letters() {
    let mut test = ProgramTest::new();
    let (source, found, letters) = (test.source::<u32>(), test.sink::<(u32, Option<u32>)>(), test.sink::<DeadLetter>());
    let fetched = Arc::new(AtomicUsize::new(0));
    let (from, to, dead, count) = (source.clone(), found.clone(), letters.clone(), Arc::clone(&fetched));
    test.start(1, move |flow| {
        let settings = LookupSettings { cache_rows: 3, ..LookupSettings::default() };
        let count = Arc::clone(&count);
        let fetch = move |keys: &[u32]| -> Result<Vec<Option<u32>>, std::io::Error> {
            count.fetch_add(keys.len(), Ordering::Relaxed);
            if keys.contains(&13) {
                return Err(std::io::Error::other("13 is down"));
            }
            Ok(keys.iter().map(|key| (key % 2 == 0).then_some(key * 10)).collect())
        };
        flow.source("keys", &from)?.lookup_join("rows", &settings, |key| *key, fetch)?.sink("found", &to)?;
        flow.dead_letters().sink("letters", &dead)
    });
    let push = |keys: &[u32]| {
        keys.iter().for_each(|key| source.push(0, *key));
        sorted(found.output())
    };
    assert_eq!(push(&[2, 3, 2]), [(2, Some(20)), (2, Some(20)), (3, None)]);
    assert_eq!(push(&[3, 2]), [(2, Some(20)), (3, None)]);
    assert_eq!(fetched.load(Ordering::Relaxed), 2, "a row that is not there is cached as well");
    test.clock(ProcessingTime(60_000));
    assert_eq!(push(&[2]), [(2, Some(20))]);
    assert_eq!(fetched.load(Ordering::Relaxed), 3, "after a minute it is fetched again");
    assert_eq!(push(&[13]), []);
    let letters = letters.output();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("13 is down"), "{letters:?}");
    assert_eq!(push(&[4, 6, 8]), [(4, Some(40)), (6, Some(60)), (8, Some(80))]);
    assert_eq!(push(&[2]), [(2, Some(20))]);
    assert_eq!(fetched.load(Ordering::Relaxed), 8, "the oldest of four rows made room");
}
