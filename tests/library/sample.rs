//! Samples of streams: they contain whole keys, are the same on any worker and in any run, and a smaller sample is
//! part of a larger one.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::Simulation;

use testkit::script::{cases, sorted};

/// Returns the records that samples of these fractions of the keys keep. The seed decides the number of workers,
/// crashes and stops.
fn samples(records: &[(u16, u32)], fractions: [f64; 2], seed: u64) -> [Vec<(u16, u32)>; 2] {
    let mut sim = Simulation::new(seed);
    let (source, sinks) = (sim.source(), [sim.sink(), sim.sink()]);
    records.iter().for_each(|record| source.push_to(record.1 as usize % 2, 0, *record));
    let (from, emitted) = (source, sinks.clone());
    sim.run(move |flow| {
        let records = flow.source("records", &from)?;
        let [first, second] = &emitted;
        records.clone().sample(fractions[0], |record| record.0).sink("first", first)?;
        records.sample(fractions[1], |record| record.0).sink("second", second)
    });
    sinks.map(|sink| sorted(sink.output()))
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_sample_has_all_records_of_its_keys(
        keys in prop::collection::vec(0..60_u16, 0..300),
        fractions in [0.0..=1.0_f64, 0.0..=1.0_f64],
        seeds: [u64; 2],
    ) {
        let records: Vec<(u16, u32)> = keys.into_iter().zip(0..).collect();
        let [first, second] = samples(&records, fractions, seeds[0]);
        let keys = |sample: &[(u16, u32)]| sample.iter().map(|record| record.0).collect::<BTreeSet<_>>();
        for sample in [&first, &second] {
            let kept = keys(sample);
            let whole = records.iter().filter(|record| kept.contains(&record.0)).copied().collect();
            prop_assert_eq!(sample, &sorted(whole));
        }
        let (smaller, larger) = if fractions[0] <= fractions[1] { (&first, &second) } else { (&second, &first) };
        prop_assert!(keys(smaller).is_subset(&keys(larger)));
        prop_assert_eq!(samples(&records, fractions, seeds[1]), [first.clone(), second.clone()]);
        let of = samples(&records, [0.0, 1.0], seeds[1]);
        prop_assert!(of[0].is_empty() && of[1].len() == records.len());
    }
}
