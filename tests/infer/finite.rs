//! Scores that are not finite numbers: each affects only its own record, which gets the fallback, the default score
//! or a dead letter, and no other record of its batch.

use proptest::prelude::*;
use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, Ran, item, run, settings, threads};

/// The answers that are no finite score.
pub const NOT_FINITE: [Act; 3] = [Act::NotANumber, Act::Infinite, Act::Below];

/// Items of which a random share, from none to all, has no finite score.
pub fn items(most: usize) -> impl Strategy<Value = Vec<Item>> {
    (1..most, 0..=100_u32).prop_flat_map(|(len, percent)| {
        proptest::collection::vec((0..100_u32, 0..3_usize), len).prop_map(move |draws| {
            let act = |(draw, which)| if draw < percent * percent / 100 { NOT_FINITE[which] } else { Act::Score };
            draws.into_iter().enumerate().map(|(id, draw)| item(id as u64, act(draw))).collect()
        })
    })
}

/// Returns the ids of the items that have a finite score, and of those that have none.
pub fn good_and_bad(items: &[Item]) -> (Vec<u64>, Vec<u64>) {
    let (good, bad): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.act == Act::Score);
    (good.iter().map(|item| item.id).collect(), bad.iter().map(|item| item.id).collect())
}

/// Checks that every record is counted once, and those without a finite score once more in `not_finite`.
pub fn counts_are_right(ran: &Ran, items: &[Item], bad: usize) {
    let counted = ["scored", "fallbacks", "defaults", "dead_letters"].map(|name| ran.count(name));
    assert_eq!(counted.iter().sum::<u64>(), items.len() as u64);
    assert_eq!(counted[0], (items.len() - bad) as u64);
    assert_eq!(ran.count("not_finite"), bad as u64);
    assert_eq!(ran.count("bisections"), 0, "which rows they are is known");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn exactly_the_records_without_a_finite_score_go_down_the_ladder(
        items in items(300),
        batch in 1..80_usize,
        workers in 1..=3_usize,
        pool in proptest::option::of((1..4_usize, any::<bool>())),
        step in 0..3_u8,
    ) {
        let pool = pool.and_then(|(count, ordered)| threads(count, ordered));
        let model = Fake::new("model", 0.0, &NOT_FINITE);
        let runs = std::sync::Arc::clone(&model.runs);
        let models = if step == 0 { Models::of(model).or(Fake::new("spare", 0.5, &[])) } else { Models::of(model) };
        let settings = InferSettings { default_score: (step == 1).then_some(-1.0), ..settings(batch, pool) };
        let (good, bad) = good_and_bad(&items);
        let ran = run(items.clone(), workers, &models, &settings);
        prop_assert_eq!(ran.ids(ScoreOrigin::Model), good);
        let went = [ran.ids(ScoreOrigin::FallbackModel), ran.ids(ScoreOrigin::Default), ran.dead_ids()];
        for (at, went) in went.iter().enumerate() {
            prop_assert_eq!(went, if at == step as usize { &bad } else { &Vec::new() });
        }
        for scored in &ran.scored {
            let id = scored.record.id as f32;
            let wanted = match scored.origin {
                ScoreOrigin::Model => id * 2.0,
                ScoreOrigin::FallbackModel => id * 2.0 + 0.5,
                ScoreOrigin::Default => -1.0,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(scored.score, wanted);
        }
        counts_are_right(&ran, &items, bad.len());
        // There is one run for each batch, and one to warm up the model of each worker.
        prop_assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed) as u64, ran.count("batches") + workers as u64);
    }
}

#[test]
fn a_dead_letter_says_what_each_model_gave() {
    let models = Models::of(Fake::new("model", 0.0, &NOT_FINITE)).or(Fake::new("spare", 0.5, &[Act::NotANumber]));
    let items = vec![item(1, Act::Score), item(2, Act::NotANumber), item(3, Act::Below)];
    let ran = run(items, 1, &models, &settings(100, None));
    let [letter] = &ran.dead[..] else { panic!("one dead letter: {:?}", ran.dead) };
    assert_eq!(letter.reason, "the score is NaN; the fallback model: the score is NaN");
    assert_eq!(letter.content, "id=2, act=7");
    assert_eq!((ran.ids(ScoreOrigin::FallbackModel), ran.ids(ScoreOrigin::Model)), (vec![3], vec![1]));
    assert_eq!(ran.count("not_finite"), 3, "two of the model, one of the fallback model");
}
