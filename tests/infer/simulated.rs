//! Models that are slow, time out or fail, in a simulated world with crashes and restores to other numbers of
//! workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemill::infer::Simulated;
use tidemill::prelude::*;
use tidemill::testing::{Simulation, SimulationReport};

use crate::fake::{Act, Fake, Item, item, settings, threads};

/// The outcomes of the records of all runs: a test in which nothing failed would prove nothing.
#[derive(Default)]
struct Seen {
    scored: AtomicU64,
    by_fallback: AtomicU64,
    overdue: AtomicU64,
    failed: AtomicU64,
}

#[test]
fn every_record_comes_out_once_whatever_the_model_does() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seen = Seen::default();
    Simulation::check(200, |sim| _ = one_run(sim, &seen));
    let Seen { scored, by_fallback, overdue, failed } = seen;
    let all = [scored, by_fallback, overdue, failed].map(AtomicU64::into_inner);
    println!("scored, by the fallback model, overdue, failed: {all:?}");
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || all.iter().all(|count| *count > 15), "{all:?}");
}

/// The threads of models are scheduled like all others: the seed decides in which order they run.
#[test]
fn a_seed_is_the_same_run_with_models_on_threads() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let run = |seed: u64| one_run(&mut Simulation::new(seed), &Seen::default());
    let runs: Vec<_> = (0..40).map(run).collect();
    let again: Vec<_> = (0..40).map(run).collect();
    assert_eq!(runs, again);
    let digests: BTreeSet<u64> = runs.iter().map(|(report, ..)| report.digest).collect();
    assert_eq!(digests.len(), runs.len(), "each seed is a run of its own");
    assert!(runs.iter().any(|(_, _, letters)| !letters.is_empty()));
}

/// The report of a run, the results with their scores, and the reasons of dead letters.
type Run = (SimulationReport, Vec<(u64, f32)>, Vec<String>);

fn one_run(sim: &mut Simulation, seen: &Seen) -> Run {
    let count = sim.draw(10..300_u64);
    let (source, scored, letters) = (sim.source(), sim.sink::<Scored<Item>>(), sim.sink::<DeadLetter>());
    let mut acts = BTreeMap::new();
    for id in 0..count {
        let act = if sim.draw(0..40) == 0 { Act::Poison } else { Act::Score };
        acts.insert(id, act);
        source.push_to(sim.draw(0..2), id as i64, item(id, act));
        if sim.draw(0..20) == 0 {
            (0..2).for_each(|partition| source.watermark_of(partition, id as i64));
        }
    }
    let model = Simulated::new(Fake::new("model", 0.0, &[Act::Poison]), sim.outside());
    let fallback = Simulated::new(Fake::new("fallback", 1.0, &[Act::Poison]), sim.outside());
    let mut models = if sim.draw(0..2) == 0 { Models::of(model) } else { Models::of(model).or(fallback) };
    // Later versions, each with an addition of its own.
    let switches: Vec<i64> = (0..sim.draw(0..3_i64)).map(|at| 50 * at + sim.draw(0..50)).collect();
    for (at, switch) in switches.iter().enumerate() {
        let version = Fake::new("later", 2.0 + at as f32, &[Act::Poison]);
        models = models.from_event_time(EventTime(*switch), Simulated::new(version, sim.outside()));
    }
    let addition = |id: u64| match switches.partition_point(|switch| *switch <= id as i64) {
        0 => 0.0,
        later => 1.0 + later as f32,
    };
    let mut pool = threads(sim.draw(1..4), sim.draw(0..2) == 0).unwrap();
    pool.deadline = (sim.draw(0..4) > 0).then(|| Duration::from_millis(sim.draw(5..200)));
    let settings = InferSettings { retries: sim.draw(0..3), ..settings(sim.draw(1..40), Some(pool)) };
    let (from, to, dead) = (source.clone(), scored.clone(), letters.clone());
    let report = sim.run(move |flow| {
        let items = flow.source("items", &from)?;
        items.infer("score", &models, &settings, |item: &Item| &item.wish)?.sink("scored", &to)?;
        flow.dead_letters().sink("dead", &dead)
    });
    let (mut times, mut scores, mut reasons): (BTreeMap<u64, u32>, _, _) = (BTreeMap::new(), Vec::new(), Vec::new());
    for Scored { record, score, origin, .. } in scored.output() {
        scores.push((record.id, score));
        *times.entry(record.id).or_default() += 1;
        assert_eq!(acts[&record.id], Act::Score);
        let (plus, count) = match origin {
            ScoreOrigin::Model => (addition(record.id), &seen.scored),
            ScoreOrigin::FallbackModel => (1.0, &seen.by_fallback),
            other => panic!("there is no default: {other:?}"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(score, record.id as f32 * 2.0 + plus);
    }
    for DeadLetter { reason, content, .. } in letters.output() {
        let id = content.strip_prefix("id=").and_then(|rest| rest.split(',').next()).unwrap();
        *times.entry(id.parse().unwrap()).or_default() += 1;
        let overdue = reason.contains("no answer within") || reason.contains("all threads of the pool are overdue");
        let count = if overdue { &seen.overdue } else { &seen.failed };
        count.fetch_add(1, Ordering::Relaxed);
        reasons.push(reason);
    }
    assert_eq!(times.into_iter().collect::<Vec<_>>(), (0..count).map(|id| (id, 1)).collect::<Vec<_>>());
    (report, scores, reasons)
}
