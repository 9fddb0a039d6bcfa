//! Versions of a model that take turns in event time.

use tidemill::infer::{ElementType, TensorSpec};
use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, item, run, settings, threads};

/// Three versions: until event time 50, until 80, and from then on.
fn three() -> Models {
    Models::of(Fake::new("one", 0.0, &[Act::Poison]))
        .from_event_time(EventTime(80), Fake::new("three", 0.5, &[]))
        .from_event_time(EventTime(50), Fake::new("two", 0.25, &[Act::Poison]))
}

/// Returns the name and the score of the version for a record; its event time is its id.
fn right(id: u64) -> (&'static str, f32) {
    let (name, plus) = match id {
        0..50 => ("one", 0.0),
        50..80 => ("two", 0.25),
        _ => ("three", 0.5),
    };
    (name, id as f32 * 2.0 + plus)
}

/// Event times go back and forth across the switches, so that batches have records of all versions.
fn shuffled() -> Vec<Item> {
    (0..1000_u64).map(|at| item(at * 37 % 100, Act::Score)).collect()
}

#[test]
fn the_event_time_of_a_record_decides_which_version_scores_it() {
    for workers in [1, 2] {
        for pool in [None, threads(2, true), threads(2, false)] {
            for batch in [1, 7, 64] {
                let ran = run(shuffled(), workers, three(), &settings(batch, pool.clone()));
                assert_eq!((ran.count("scored"), ran.dead.len()), (1000, 0));
                for Scored { record, score, origin, model, .. } in &ran.scored {
                    assert_eq!((model.as_ref().unwrap().name.as_str(), *score), right(record.id));
                    assert_eq!(*origin, ScoreOrigin::Model);
                }
            }
        }
    }
}

#[test]
fn a_version_fails_for_its_own_records_only() {
    let bad = |id: u64| id % 10 == 3;
    let items: Vec<Item> = (0..100).map(|id| item(id, if bad(id) { Act::Poison } else { Act::Score })).collect();
    // The third version does not mind the poison.
    let failed: Vec<u64> = (0..80).filter(|id| bad(*id)).collect();
    let ran = run(items.clone(), 1, three(), &settings(64, None));
    assert_eq!((ran.dead_ids(), ran.ids(ScoreOrigin::Model).len()), (failed.clone(), 92));
    for letter in &ran.dead {
        let id: i64 = letter.content["id=".len()..].split(',').next().unwrap().parse().unwrap();
        let version = if id < 50 { "model one@0" } else { "model two@0" };
        assert!(letter.origin.contains(version), "{letter:?}");
    }
    let ran = run(items, 1, three().or(Fake::new("spare", 0.75, &[])), &settings(64, None));
    assert_eq!(ran.ids(ScoreOrigin::FallbackModel), failed);
    for scored in ran.scored.iter().filter(|scored| scored.origin == ScoreOrigin::FallbackModel) {
        assert_eq!(scored.score, scored.record.id as f32 * 2.0 + 0.75);
        assert_eq!(scored.model.as_ref().unwrap().name, "spare");
    }
}

#[test]
fn versions_that_cannot_take_turns_are_refused() {
    let refused = |models: Models| {
        let source = vec_source(vec![(EventTime(0), item(0, Act::Score))]);
        let job = Job::new("refused", crate::fake::args(1)).run(move |flow| {
            flow.source("items", &source)?
                .infer("score", &models, &settings(8, None), |item: &Item| &item.wish)?
                .sink("nowhere", &NullSink::default())
        });
        tidemill::error::with_causes(&job.unwrap_err())
    };
    let twice = Models::of(Fake::new("one", 0.0, &[]))
        .from_event_time(EventTime(7), Fake::new("two", 0.0, &[]))
        .from_event_time(EventTime(7), Fake::new("three", 0.0, &[]));
    assert!(refused(twice).contains("two versions take over at the event time"));
    let other = Fake::new("other", 0.0, &[]).with_inputs(vec![TensorSpec::fixed("wish", ElementType::F32, [3])]);
    let error = refused(Models::of(Fake::new("one", 0.0, &[])).from_event_time(EventTime(7), other));
    assert!(error.contains("\"other@0\" does not fit") && error.contains("f32 [n, 3]"), "{error}");
}
