//! Samples of streams: whole keys, the same on any worker and in any run, smaller ones within larger ones.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidemill::prelude::*;

use crate::script::{cases, sorted};

/// What is left of the records by samples of these fractions of the keys.
fn samples(records: &[(u16, u32)], fractions: [f64; 2], workers: usize) -> [Vec<(u16, u32)>; 2] {
    let source = vec_source(records.iter().map(|record| (EventTime(0), *record)).collect());
    let sinks = [CollectSink::default(), CollectSink::default()];
    let told = sinks.clone();
    Job::new("samples", JobArgs { workers, log_level: "off".to_owned(), ..JobArgs::default() })
        .run(move |flow| {
            let records = flow.source("records", &source)?;
            let [first, second] = &sinks;
            records.clone().sample(fractions[0], |record| record.0).sink("first", first)?;
            records.sample(fractions[1], |record| record.0).sink("second", second)
        })
        .unwrap();
    told.map(|sink| sorted(sink.data()))
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_sample_has_all_records_of_its_keys(
        keys in prop::collection::vec(0..60_u16, 0..300),
        fractions in [0.0..=1.0_f64, 0.0..=1.0_f64],
        workers in [1..5_usize, 1..5_usize],
    ) {
        let records: Vec<(u16, u32)> = keys.into_iter().zip(0..).collect();
        let [first, second] = samples(&records, fractions, workers[0]);
        let keys = |sample: &[(u16, u32)]| sample.iter().map(|record| record.0).collect::<BTreeSet<_>>();
        for sample in [&first, &second] {
            let kept = keys(sample);
            let whole = records.iter().filter(|record| kept.contains(&record.0)).copied().collect();
            prop_assert_eq!(sample, &sorted(whole));
        }
        let (smaller, larger) = if fractions[0] <= fractions[1] { (&first, &second) } else { (&second, &first) };
        prop_assert!(keys(smaller).is_subset(&keys(larger)));
        prop_assert_eq!(samples(&records, fractions, workers[1]), [first.clone(), second.clone()]);
        let of = samples(&records, [0.0, 1.0], workers[1]);
        prop_assert!(of[0].is_empty() && of[1].len() == records.len());
    }
}
