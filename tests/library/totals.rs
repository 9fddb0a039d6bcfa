//! Totals of streams: folds are compared with a loop over all records, through crashes; `for_each` is called with
//! every record; and the report at the end of a job has the right counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::Simulation;

use testkit::script::{cases, sorted};

/// Number of records, their sum, and the latest event time.
type Total = (u64, i64, i64);

fn count(total: &mut Total, (_, value, time): (u8, i32, i64)) {
    assert!(time >= total.2, "out of order");
    *total = (total.0 + 1, total.1 + i64::from(value), time);
}

proptest! {
    #![proptest_config(cases(200))]

    /// In simulated worlds with crashes, stops and other numbers of workers, each record is in a total once, whether
    /// the stream has a key or not, and totals can themselves be folded.
    #[test]
    fn folds_are_loops_over_all_records(
        records in prop::collection::vec((0..20_u8, -100..100_i32, 0..50_i64), 0..200),
        seed: u64,
    ) {
        let mut sim = Simulation::new(seed);
        let (source, keyed, all, added) = (sim.source(), sim.sink(), sim.sink(), sim.sink());
        for (at, record) in records.iter().enumerate() {
            source.push_to(at % 2, record.2, *record);
        }
        // No record is late, because partitions end before the watermark moves.
        let sinks = (keyed.clone(), all.clone(), added.clone());
        let from = source;
        sim.run(move |flow| {
            let records = flow.source("records", &from)?;
            let init = (0, 0, i64::MIN);
            let by_key = records.clone().key_by(|record| record.0).fold("by key", init, count)?;
            by_key.clone().sink("keyed", &sinks.0)?;
            records.fold("all", init, count)?.sink("total", &sinks.1)?;
            by_key.fold("added", (0, 0), |all, (_, total)| *all = (all.0 + total.0, all.1 + total.1))?.sink("sum", &sinks.2)
        });
        let mut expected: BTreeMap<u8, Total> = BTreeMap::new();
        for record in &records {
            let total = expected.entry(record.0).or_insert((0, 0, i64::MIN));
            *total = (total.0 + 1, total.1 + i64::from(record.1), total.2.max(record.2));
        }
        let sum = (records.len() as u64, records.iter().map(|record| i64::from(record.1)).sum::<i64>());
        let latest = records.iter().map(|record| record.2).max();
        prop_assert_eq!(sorted(keyed.output()), expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(all.output(), Vec::from_iter(latest.map(|latest| (sum.0, sum.1, latest))));
        prop_assert_eq!(added.output(), Vec::from_iter(latest.map(|_| sum)));
    }

    /// The function is called with each record at least once, even after a crash.
    #[test]
    fn for_each_is_called_with_each_record(records in prop::collection::vec(any::<u16>(), 0..100), seed: u64) {
        let mut sim = Simulation::new(seed);
        let source = sim.source();
        (0..).zip(&records).for_each(|(at, record)| source.push_to(at % 2, 0, (at, *record)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (from, calls) = (source, Arc::clone(&seen));
        sim.run(move |flow| {
            let calls = Arc::clone(&calls);
            flow.source("records", &from)?.for_each("see", move |record| calls.lock().unwrap().push(record.data))
        });
        let seen: BTreeSet<(usize, u16)> = seen.lock().unwrap().iter().copied().collect();
        prop_assert_eq!(seen, (0..).zip(records).collect::<BTreeSet<_>>());
    }
}

#[test]
fn a_job_that_ends_says_what_it_counted_and_functions_have_seen_each_record_once() {
    let total = Arc::new(Mutex::new(0));
    let sum = Arc::clone(&total);
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let report: Snapshot = Job::new("totals", args)
        .run(move |flow| {
            let sum = Arc::clone(&sum);
            let numbers = vec_source((1..=1000_u64).map(|n| (EventTime(n as i64), n)).collect());
            flow.source("numbers", &numbers)?.for_each("sum", move |record| *sum.lock().unwrap() += record.data)
        })
        .unwrap();
    assert_eq!((*total.lock().unwrap(), report.state.as_str()), (500_500, "finished"));
    let read: &OperatorSnapshot = report.operator("numbers").unwrap();
    assert_eq!((read.counter("records_out"), report.operator("sum").unwrap().counter("records_in")), (1000, 1000));
    assert_eq!((read.counter("no such thing"), report.operator("nobody").is_none()), (0, true));
}
