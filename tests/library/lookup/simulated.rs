//! Lookups in simulated worlds: slow and failing calls, crashes, stops, and other numbers of workers.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill::prelude::*;
use tidemill::testing::{Outside, Simulation};

use super::{Rows, row};
use testkit::script::sorted;

/// Outcomes of all simulated runs, so that the test can check that each kind of outcome occurred.
#[derive(Default)]
struct Seen {
    found: AtomicUsize,
    failed: AtomicUsize,
    overdue: AtomicUsize,
    restarts: AtomicUsize,
}

/// The service is slow and fails, it is called on the worker or on threads, and the job crashes, stops and continues
/// with other numbers of workers. Calls in flight are repeated, and each record is emitted once, with its row or as a
/// dead letter.
#[test]
fn every_record_comes_out_once_in_simulated_worlds() {
    let seen = Seen::default();
    Simulation::check(200, |sim| simulated(sim, &seen));
    let Seen { found, failed, overdue, restarts } = seen;
    let all = [found, failed, overdue, restarts].map(AtomicUsize::into_inner);
    println!("found, failed, overdue, restarts: {all:?}");
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || all.iter().all(|count| *count > 80), "{all:?}");
}

/// A record: its number, which grows within each partition, and the key of its lookup.
type Asking = (u32, u32);

/// A call to the service: its connection, its keys, and whether it was answered.
struct Call {
    connection: usize,
    keys: Vec<u32>,
    answered: bool,
}

/// All calls that ended, in all starts of a run. The dead letters of a failed call contain its number.
#[derive(Clone, Default)]
struct Calls {
    ended: Arc<Mutex<Vec<Call>>>,
    connections: Arc<AtomicUsize>,
}

impl Calls {
    fn connect(&self, outside: Outside) -> impl FnMut(&[u32]) -> Result<Rows, std::io::Error> + Send + use<> {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::clone(&self.ended);
        move |keys| {
            let answered = outside.call().is_ok();
            let mut ended = ended.lock().unwrap();
            ended.push(Call { connection, keys: keys.to_vec(), answered });
            let number = ended.len() - 1;
            answered
                .then(|| keys.iter().map(|key| row(*key)).collect())
                .ok_or_else(|| std::io::Error::other(number.to_string()))
        }
    }
}

fn simulated(sim: &mut Simulation, seen: &Seen) {
    let (source, rows, letters) = (sim.source::<Asking>(), sim.sink(), sim.sink::<DeadLetter>());
    let records: Vec<(usize, Asking)> =
        (0..sim.draw(0..200)).map(|number| (sim.draw(0..2), (number, sim.draw(0..60)))).collect();
    for (partition, record) in &records {
        let time = i64::from(record.0);
        source.push_to(*partition, time, *record);
        if sim.draw(0..20) == 0 {
            (0..2).for_each(|partition| source.watermark_of(partition, time));
        }
    }
    let settings = LookupSettings {
        max_batch_size: sim.draw(1..40),
        cache_rows: sim.draw(0..80),
        ttl: Duration::from_millis(sim.draw(1..100)),
        ..LookupSettings::default()
    };
    let pool = PoolSettings {
        threads: NonZeroUsize::new(sim.draw(1..4)).unwrap(),
        max_in_flight: NonZeroUsize::new(sim.draw(0..4)),
        ordered: sim.draw(0..2) == 0,
        deadline: (sim.draw(0..2) == 0).then(|| Duration::from_millis(sim.draw(5..200))),
    };
    let fetching = FetchSettings { pool, retries: sim.draw(0..3), backoff: Duration::from_millis(1) };
    let (in_line, outside, calls) = (sim.draw(0..4) == 0, sim.outside(), Calls::default());
    let (from, to, dead) = (source, rows.clone(), letters.clone());
    let (asked, fetches) = (calls.clone(), fetching.clone());
    let report = sim.run(move |flow| {
        let records = flow.source("records", &from)?;
        let (asked, outside) = (asked.clone(), outside.clone());
        let open = move || asked.connect(outside.clone());
        let found = match in_line {
            true => records.lookup_join("rows", &settings, |(_, key)| *key, open())?,
            false => records.lookup_join_async("rows", &settings, &fetches, |(_, key)| *key, open)?,
        };
        found.sink("found", &to)?;
        flow.dead_letters().sink("letters", &dead)
    });
    let found: Vec<(Asking, Option<u32>)> = rows.output();
    let letters = letters.output();
    seen.found.fetch_add(found.len(), Ordering::Relaxed);
    seen.restarts.fetch_add(report.starts as usize - 1, Ordering::Relaxed);
    let calls = calls.ended.lock().unwrap();
    let answered: HashSet<u32> = calls.iter().filter(|call| call.answered).flat_map(|call| call.keys.clone()).collect();
    let is_right = |((_, key), value): &(Asking, Option<u32>)| *value == row(*key) && answered.contains(key);
    assert!(found.iter().all(is_right), "{found:?}");
    if in_line || fetching.pool.ordered {
        for partition in 0..2 {
            let of_partition = found.iter().filter(|((number, _), _)| records[*number as usize].0 == partition);
            assert!(of_partition.is_sorted_by_key(|((number, _), _)| *number), "of {partition}: {found:?}");
        }
    }
    let deadline = fetching.pool.deadline.filter(|_| !in_line);
    let dead = failed(&letters, &calls, if in_line { 1 } else { 1 + fetching.retries as usize }, deadline, seen);
    assert_eq!(
        sorted(found.into_iter().map(|(record, _)| record).chain(dead).collect()),
        sorted(records.into_iter().map(|(_, record)| record).collect())
    );
}

/// Returns the records that became dead letters. Each was overdue if there is a deadline, or its batch failed: then all
/// records of the batch are dead letters, after the right number of tries.
fn failed(
    letters: &[DeadLetter],
    calls: &[Call],
    tries: usize,
    deadline: Option<Duration>,
    seen: &Seen,
) -> Vec<Asking> {
    let (mut dead, mut by_call) = (Vec::new(), BTreeMap::<usize, HashSet<u32>>::new());
    for DeadLetter { content, reason, .. } in letters {
        let (number, key) = content.trim_matches(['(', ')']).split_once(", ").unwrap();
        let record: Asking = (number.parse().unwrap(), key.parse().unwrap());
        dead.push(record);
        let call = reason.parse::<usize>();
        let count = if call.is_ok() { &seen.failed } else { &seen.overdue };
        count.fetch_add(1, Ordering::Relaxed);
        match call {
            Ok(call) => _ = by_call.entry(call).or_default().insert(record.1),
            Err(_) => {
                let deadline = deadline.unwrap_or_else(|| panic!("there is no deadline: {reason}"));
                let overdue =
                    [format!("no answer within {deadline:?}"), "all threads of the pool are overdue".to_owned()];
                assert!(overdue.contains(reason), "{reason}");
            }
        }
    }
    for (number, died) in by_call {
        let last = &calls[number];
        assert_eq!(died, last.keys.iter().copied().collect(), "one of them died, all of them had asked");
        let of_connection = calls[..=number].iter().rev().filter(|call| call.connection == last.connection);
        let tried: Vec<&Call> = of_connection.take(tries).collect();
        let all = tried.len() == tries && tried.iter().all(|call| call.keys == last.keys && !call.answered);
        assert!(all, "call {number} was not the last of {tries} that failed");
    }
    dead
}
