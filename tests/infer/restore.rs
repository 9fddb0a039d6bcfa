//! A job that fails with batches in flight: its output contains each record exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemill::prelude::*;

use crate::fake::{Act, Fake, Item, args, item, settings, threads};

const COUNT: u64 = 6000;

#[test]
fn batches_in_flight_come_again_after_a_restore() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    for ordered in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut failed = 0;
        // Each run fails after 900 more results than the one before, and the next one continues from its last
        // checkpoint.
        for run in 1..=20 {
            let (out, left) = (folder.path().join("out"), Arc::new(AtomicU64::new(900 * run)));
            let args = JobArgs {
                settings: JobSettings {
                    checkpoint_dir: Some(folder.path().join("checkpoints")),
                    checkpoint_interval: Duration::from_millis(20),
                    ..args(1 + run as usize % 3).settings
                },
                ..args(1 + run as usize % 3)
            };
            let result = Job::new("restore", args).run(move |flow| {
                let model = Fake::new("model", 0.0, &[Act::Slow]);
                let act = |id| if id % 150 == 0 { Act::Slow } else { Act::Score };
                let source = Generator::new(COUNT, move |id| (EventTime(id as i64), item(id, act(id)))).rate(40_000.0);
                let left = Arc::clone(&left);
                flow.source("items", &source)?
                    .infer("score", &model, &settings(40, threads(2, ordered)), |item: &Item| &item.wish)?
                    .inspect(move |_| {
                        let left = left.fetch_sub(1, Ordering::Relaxed);
                        assert!(left > 0 && left < u64::MAX / 2, "the power is out");
                    })
                    .map(|scored| (scored.record.id, scored.score))
                    .sink("out", &FileSink::json_lines(&out))
            });
            match result {
                Ok(_) => break,
                Err(error) => {
                    assert!(error.report().contains("the power is out"), "{}", error.report());
                    failed += 1;
                }
            }
        }
        assert!(failed >= 2, "{failed} runs died: too few to mean much");
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for part in std::fs::read_dir(folder.path().join("out")).unwrap() {
            let part = part.unwrap();
            if part.file_name().to_string_lossy().starts_with("part-") {
                for line in std::fs::read_to_string(part.path()).unwrap().lines() {
                    let (id, score): (u64, f32) = serde_json::from_str(line).unwrap();
                    assert_eq!(score, id as f32 * 2.0);
                    *times.entry(id).or_default() += 1;
                }
            }
        }
        assert_eq!(times.len() as u64, COUNT, "each record came out");
        assert!(times.values().all(|times| *times == 1), "none twice");
    }
}
