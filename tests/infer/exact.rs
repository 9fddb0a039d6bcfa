//! Models whose scores depend on the other rows of a batch, and runs of a fixed size, with which the scores do not
//! depend on them.

use proptest::prelude::*;
use tests::model::Computed;
use tidemill::prelude::*;

use crate::fake::{Act, item, run, settings, threads};
use crate::onnx::{load, run_once, score_all};

/// Makes a model whose scores are the number of rows of the run, or the index of each row in the run.
fn depends(on_place: bool) -> Computed {
    let score = move |row, rows| (if on_place { row } else { rows }) as f32;
    Computed::new("depends", 2, move |rows| Ok((0..rows).map(|row| score(row, rows)).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn all_runs_have_as_many_rows(
        count in 1..200_u64,
        batch in 1..40_usize,
        calibrated in any::<bool>(),
        workers in 1..=3_usize,
        pool in proptest::option::of(1..3_usize),
    ) {
        let pool = pool.and_then(|count| threads(count, true));
        let mut settings = InferSettings { batch_exact: true, ..settings(batch, pool) };
        if calibrated {
            settings.max_batch_size = BatchSize::Calibrated { up_to: batch.try_into().unwrap() };
        }
        let ran = run((0..count).map(|id| item(id, Act::Score)).collect(), workers, &depends(false), &settings);
        prop_assert_eq!(ran.scored.len() as u64, count);
        prop_assert!(ran.scored.iter().all(|scored| scored.score == batch as f32));
    }

    /// Compares each score with that of a run that has only copies of its row.
    #[test]
    fn a_score_does_not_depend_on_the_batch(
        pairs in proptest::collection::vec((-4.0..4.0_f64, -4.0..4.0_f64), 1..60), count in 1..3_usize,
    ) {
        let model = load("linear.onnx", "probabilities", 1).unwrap();
        let rows: Vec<[f64; 2]> = pairs.iter().map(|(a, b)| [*a, *b]).collect();
        let settings = InferSettings { batch_exact: true, ..settings(16, threads(count, true)) };
        let (scored, dead) = score_all(&rows, &model, &settings);
        prop_assert_eq!((scored.len(), dead.len()), (rows.len(), 0));
        for ((_, score), [a, b]) in scored.iter().zip(&rows) {
            let alone = run_once(&model, &[*a as f32, *b as f32].repeat(16)).unwrap();
            prop_assert_eq!(score.to_bits(), alone[1].to_bits());
        }
    }
}

#[test]
fn where_runs_of_one_size_do_not_help_the_job_does_not_start() {
    let job = |settings: InferSettings| {
        let source = vec_source(vec![(EventTime(0), item(0, Act::Score))]);
        Job::new("exact", crate::fake::args(1)).run(move |flow| {
            flow.source("items", &source)?
                .infer("score", &depends(true), &settings, |item: &crate::fake::Item| &item.wish)?
                .sink("out", &NullSink::default())
        })
    };
    let error = job(InferSettings { batch_exact: true, ..settings(16, None) }).unwrap_err().report();
    assert!(error.contains("batch_exact") && error.contains("max_batch_size to 1"), "{error}");
    assert!(job(InferSettings { batch_exact: true, ..settings(1, None) }).is_ok());
    assert!(job(settings(16, None)).is_ok(), "as long as nobody asked");
}
