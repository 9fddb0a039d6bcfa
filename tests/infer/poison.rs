//! Records that make their batches fail: whichever they are, exactly these become dead letters, and every other
//! record is scored once.

use proptest::prelude::*;
use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, item, run, settings, threads};

fn items() -> impl Strategy<Value = Vec<Item>> {
    // The share of poisonous items is between none and all.
    (1..400_usize, 0..=100_u32).prop_flat_map(|(len, percent)| {
        proptest::collection::vec(0..100_u32, len).prop_map(move |draws| {
            let act = |draw: u32| if draw < percent * percent / 100 { Act::Poison } else { Act::Score };
            draws.into_iter().enumerate().map(|(id, draw)| item(id as u64, act(draw))).collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn exactly_the_poison_ends_in_dead_letters(
        items in items(),
        batch in 1..80_usize,
        workers in 1..=4_usize,
        pool in proptest::option::of((1..4_usize, any::<bool>())),
        with_fallback in any::<bool>(),
    ) {
        let pool = pool.and_then(|(count, ordered)| threads(count, ordered));
        let model = Fake::new("model", 0.0, &[Act::Poison]);
        // The fallback scores what the model fails on.
        let models = if with_fallback { Models::of(model).or(Fake::new("spare", 0.5, &[])) } else { Models::of(model) };
        let of = |act: Act| -> Vec<u64> { items.iter().filter(|i| i.act == act).map(|i| i.id).collect() };
        let (good, bad) = (of(Act::Score), of(Act::Poison));
        let ran = run(items.clone(), workers, &models, &settings(batch, pool));
        prop_assert_eq!(ran.ids(ScoreOrigin::Model), good.clone());
        prop_assert_eq!(ran.ids(ScoreOrigin::Default), Vec::<u64>::new());
        if with_fallback {
            prop_assert_eq!(ran.ids(ScoreOrigin::FallbackModel), bad.clone());
            prop_assert_eq!(ran.dead_ids(), Vec::<u64>::new());
        } else {
            prop_assert_eq!(ran.dead_ids(), bad.clone());
        }
        for scored in &ran.scored {
            let plus = if scored.origin == ScoreOrigin::FallbackModel { 0.5 } else { 0.0 };
            prop_assert_eq!(scored.score, scored.record.id as f32 * 2.0 + plus);
        }
        let counted = ["scored", "fallbacks", "defaults", "dead_letters"].map(|name| ran.count(name));
        prop_assert_eq!(counted.iter().sum::<u64>(), items.len() as u64);
        prop_assert_eq!(counted[0], good.len() as u64);
    }
}
