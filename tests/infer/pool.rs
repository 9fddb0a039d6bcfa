//! Inference on threads beside the worker: the order of the output, the progress of other operators, and
//! backpressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, args, item, run, settings, threads};

/// Returns 1000 items; the first 10 of every 100 are slow.
fn items() -> Vec<Item> {
    (0..1000).map(|id| item(id, if id % 100 < 10 { Act::Slow } else { Act::Score })).collect()
}

#[test]
fn ordered_output_keeps_the_order_and_unordered_does_not_wait() {
    let ids = |ordered| -> Vec<u64> {
        let model = Fake::new("model", 0.0, &[Act::Slow]);
        let ran = run(items(), 1, &model, &settings(10, threads(3, ordered)));
        ran.scored.iter().map(|scored| scored.record.id).collect()
    };
    let in_order: Vec<u64> = (0..1000).collect();
    assert_eq!(ids(true), in_order);
    let mut unordered = ids(false);
    assert_ne!(unordered, in_order, "slow batches are overtaken");
    unordered.sort_unstable();
    assert_eq!(unordered, in_order);
}

#[test]
fn a_slow_model_does_not_stop_the_other_operators_of_its_worker() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    const COUNT: u64 = 5000;
    // The model answers only when everything has come out of the other branch. If that is blocked, it never answers.
    let model = Fake::new("model", 0.0, &[Act::Hang]);
    let (gate, seen) = (model.gate.clone(), Arc::new(AtomicU64::new(0)));
    let scored = CollectSink::default();
    let (scored_sink, before) = (scored.clone(), Arc::clone(&seen));
    Job::new("two branches", args(1))
        .run(move |flow| {
            let source = Generator::new(COUNT, |id| (EventTime(id as i64), item(id, Act::Hang)));
            let items = flow.source("items", &source)?;
            let (seen, gate) = (Arc::clone(&before), gate.clone());
            items
                .clone()
                .inspect(move |_| {
                    if seen.fetch_add(1, Ordering::Relaxed) + 1 == COUNT {
                        gate.open();
                    }
                })
                .sink("other", &NullSink::default())?;
            items
                .infer("score", &model, &settings(50, threads(1, true)), |item: &Item| &item.wish)?
                .sink("scored", &scored_sink)
        })
        .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), COUNT);
    assert_eq!(scored.data().len() as u64, COUNT);
}

#[test]
fn sources_wait_for_a_slow_model() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    const MAX_IN_FLIGHT: usize = 500;
    let (read, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ahead, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let most_seen = Arc::clone(&most);
    Job::new("slow", JobArgs { settings: JobSettings { max_in_flight: MAX_IN_FLIGHT, ..args(1).settings }, ..args(1) })
        .run(move |flow| {
            let model = Fake::new("model", 0.0, &[Act::Slow]);
            let source = Generator::new(20_000, |id| {
                (EventTime(id as i64), item(id, if id % 500 == 0 { Act::Slow } else { Act::Score }))
            });
            let (read, written, ahead) = (Arc::clone(&read), Arc::clone(&written), Arc::clone(&ahead));
            let (read_too, most) = (Arc::clone(&read), Arc::clone(&most_seen));
            flow.source("items", &source)?
                .inspect(move |_| _ = read.fetch_add(1, Ordering::Relaxed))
                .infer("score", &model, &settings(50, threads(1, true)), |item: &Item| &item.wish)?
                .inspect(move |_| {
                    let out = written.fetch_add(1, Ordering::Relaxed);
                    ahead.store(read_too.load(Ordering::Relaxed).saturating_sub(out), Ordering::Relaxed);
                    most.fetch_max(ahead.load(Ordering::Relaxed), Ordering::Relaxed);
                })
                .sink("out", &NullSink::default())
        })
        .unwrap();
    let most = most.load(Ordering::Relaxed);
    // The records of one read of the source may be in flight in addition.
    assert!(most > 0 && most < 4 * MAX_IN_FLIGHT as u64, "{most} records were under way");
}
