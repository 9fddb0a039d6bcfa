//! A record allocates nothing on its way through the operator once the buffers of the operator exist.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, args, item, settings, threads};

/// Returns the number of allocations of a job that scores `count` records in batches of `batch`, and its number of
/// batches.
fn allocated(count: u64, batch: usize, pool: Option<PoolSettings>) -> (u64, u64) {
    let settings = settings(batch, pool);
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let report = Job::new("allocations", args(1))
        .run(move |flow| {
            let model = Fake::new("model", 0.0, &[]);
            flow.source("items", &Generator::new(count, |id| (EventTime(id as i64), item(id, Act::Score))))?
                .infer("score", &model, &settings, |item: &Item| &item.wish)?
                .sink("out", &NullSink::default())
        })
        .unwrap();
    let score = report.operators.iter().find(|operator| operator.name == "score").unwrap();
    assert_eq!(score.counters["scored"], count);
    let change = region.change();
    ((change.allocations + change.reallocations) as u64, score.counters["batches"])
}

#[test]
fn a_record_allocates_nothing() {
    let _alone = crate::ALONE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    for pool in [None, threads(1, true), threads(2, false)] {
        allocated(200_000, 1000, pool.clone());
        let (small, small_batches) = allocated(200_000, 1000, pool.clone());
        let (large, large_batches) = allocated(1_200_000, 1000, pool.clone());
        let (more, records) = (large.saturating_sub(small), 1_000_000_u64);
        let batches = large_batches.saturating_sub(small_batches).max(1);
        println!(
            "{pool:?}: {more} allocations for {records} more records, {:.1} for each of {batches} more batches",
            more as f64 / batches as f64
        );
        // This covers the whole job: source, operator and sink allocate for a message of many records, never for a
        // record.
        assert!(more * 20 < records, "{more} allocations for {records} records");
    }
}
