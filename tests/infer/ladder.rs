//! Each step by which failed batches are handled: retries, halves, the fallback model, the default score, dead
//! letters.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, item, run, settings, threads};

/// Returns 100 items, one of which asks for `act`.
fn one(act: Act) -> Vec<Item> {
    (0..100).map(|id| item(id, if id == 37 { act } else { Act::Score })).collect()
}

#[test]
fn one_bad_record_costs_one_record_and_says_all_there_is_to_know() {
    let model = Fake::new("model", 0.0, &[Act::Poison]);
    let ran = run(one(Act::Poison), 1, &model, &settings(100, None));
    assert_eq!((ran.count("scored"), ran.count("dead_letters")), (99, 1));
    let [letter] = &ran.dead[..] else { panic!("one dead letter: {:?}", ran.dead) };
    assert_eq!(letter.operator, "score");
    assert_eq!(letter.content, "id=37, act=1");
    assert!(letter.origin.contains("model@0") && letter.reason.contains("poison in the batch"), "{letter:?}");
    let scored = &ran.scored[0];
    assert_eq!(scored.model.as_ref().unwrap().to_string(), "model@0");
}

#[test]
fn a_default_is_marked_and_no_dead_letter() {
    let model = Fake::new("model", 0.0, &[Act::Poison]);
    let settings = InferSettings { default_score: Some(0.25), ..settings(100, None) };
    let ran = run(one(Act::Poison), 1, &model, &settings);
    assert_eq!((ran.ids(ScoreOrigin::Default), ran.dead.len(), ran.count("defaults")), (vec![37], 0, 1));
    let default = ran.scored.iter().find(|scored| scored.origin == ScoreOrigin::Default).unwrap();
    assert_eq!((default.score, &default.model), (0.25, &None));
}

#[test]
fn what_both_models_fail_on_names_both_reasons() {
    let models = Models::of(Fake::new("model", 0.0, &[Act::Poison])).or(Fake::new("spare", 0.5, &[Act::Poison]));
    let ran = run(one(Act::Poison), 1, &models, &settings(100, None));
    let [letter] = &ran.dead[..] else { panic!("one dead letter: {:?}", ran.dead) };
    assert_eq!(letter.reason, "poison in the batch; the fallback model: poison in the batch");
    assert_eq!(ran.ids(ScoreOrigin::FallbackModel), Vec::<u64>::new());
}

#[test]
fn an_unavailable_model_is_tried_again_and_not_bisected() {
    let model = Fake::new("model", 0.0, &[Act::Unavailable]);
    let runs = std::sync::Arc::clone(&model.runs);
    let models = Models::of(model).or(Fake::new("spare", 0.5, &[]));
    let unavailable: Vec<Item> = (0..100).map(|id| item(id, Act::Unavailable)).collect();
    let settings = InferSettings { retries: 3, ..settings(100, threads(1, true)) };
    let ran = run(unavailable.clone(), 1, &models, &settings);
    assert_eq!(ran.ids(ScoreOrigin::FallbackModel).len(), 100);
    assert_eq!((ran.count("retries"), ran.count("bisections")), (3 * ran.count("batches"), 0));
    let warm_up = 1;
    assert_eq!(runs.load(Ordering::Relaxed) as u64, warm_up + 4 * ran.count("batches"));

    let model = Fake::new("model", 0.0, &[Act::Unavailable]);
    let in_line = run(unavailable, 1, &model, &InferSettings { pool: None, ..settings });
    assert_eq!((in_line.count("retries"), in_line.dead.len()), (0, 100), "in line nobody waits");
}

#[test]
fn a_model_that_recovers_while_it_is_tried_again_scores_everything() {
    for (retries, by_model) in [(1, 0), (2, 100)] {
        let models = Models::of(Fake::new("model", 0.0, &[Act::Recovers])).or(Fake::new("spare", 0.5, &[]));
        let items = (0..100).map(|id| item(id, Act::Recovers)).collect();
        let ran = run(items, 1, &models, &InferSettings { retries, ..settings(100, threads(1, true)) });
        assert_eq!((ran.ids(ScoreOrigin::Model).len(), ran.count("retries")), (by_model, u64::from(retries)));
        assert_eq!(ran.ids(ScoreOrigin::FallbackModel).len(), 100 - by_model);
    }
}

#[test]
fn a_panic_makes_the_model_unavailable_and_has_it_opened_again() {
    for pool in [None, threads(2, true)] {
        let model = Fake::new("model", 0.0, &[Act::Panic]);
        let opened = std::sync::Arc::clone(&model.opened);
        let models = Models::of(model).or(Fake::new("spare", 0.5, &[]));
        let sessions = if pool.is_some() { 2 } else { 1 };
        let ran = run(one(Act::Panic), 1, &models, &InferSettings { retries: 1, ..settings(10, pool) });
        assert_eq!(ran.scored.len(), 100, "{:?}", ran.dead);
        let by_fallback = ran.ids(ScoreOrigin::FallbackModel);
        assert!(by_fallback.contains(&37) && by_fallback.len() <= 10, "{by_fallback:?}");
        assert!(opened.load(Ordering::Relaxed) > sessions);
    }
}

#[test]
fn a_thread_that_hangs_is_given_up_and_its_records_go_on() {
    for (fallback, ordered) in [(true, true), (true, false), (false, true)] {
        let model = Fake::new("model", 0.0, &[Act::Hang]);
        let gate = model.gate.clone();
        let models = Models::of(model);
        let models = if fallback { models.or(Fake::new("spare", 0.5, &[])) } else { models };
        let pool = threads(2, ordered).map(|pool| PoolSettings { deadline: Some(Duration::from_millis(80)), ..pool });
        let ran = run(one(Act::Hang), 1, &models, &settings(10, pool));
        gate.open();
        assert_eq!(ran.count("scored") + ran.count("fallbacks") + ran.count("dead_letters"), 100);
        if fallback {
            assert!(ran.ids(ScoreOrigin::FallbackModel).contains(&37), "{:?}", ran.dead);
        } else {
            assert!(ran.dead_ids().contains(&37) && ran.dead[0].reason.contains("no answer within"), "{:?}", ran.dead);
        }
    }
}

#[test]
fn when_all_threads_hang_records_still_come_out() {
    let model = Fake::new("model", 0.0, &[Act::Hang]);
    let gate = model.gate.clone();
    let pool = threads(1, true).map(|pool| PoolSettings { deadline: Some(Duration::from_millis(10)), ..pool });
    let items: Vec<Item> = (0..200).map(|id| item(id, Act::Hang)).collect();
    let ran = run(items, 1, &model, &InferSettings { retries: 0, ..settings(5, pool) });
    gate.open();
    assert_eq!(ran.dead_ids(), (0..200).collect::<Vec<u64>>());
}
