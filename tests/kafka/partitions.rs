//! Partitions that are silent, behind, or added while the job runs: they make no record late, and the watermark waits
//! only for partitions that have records.

use serde_json::json;

use crate::cluster::{alone, cluster};
use crate::job::{counter, job, live_job, status, stop};
use testkit::{finish, free_address};
use tests::until;

const START_MS: i64 = 1_767_225_600_000;
const MINUTE_MS: i64 = 60_000;

/// Returns transaction `id` of a card in this partition, at `START_MS + ms`.
fn transaction(partition: i32, id: usize, ms: i64) -> (i32, String, String) {
    let card = partition as usize * 1000 + id % 7;
    let ts = START_MS + ms;
    let transaction = json!({
        "tx_id": id, "ts": ts, "card_id": card, "terminal_id": id % 11, "amount": 5.0, "is_fraud": 0,
    });
    (partition, card.to_string(), transaction.to_string())
}

/// Returns transactions with the ids in `range`, one every 10 ms of event time, in `partitions` by turns.
fn rising(partitions: &[i32], range: std::ops::Range<usize>) -> Vec<(i32, String, String)> {
    range.map(|id| transaction(partitions[id % partitions.len()], id, id as i64 * 10)).collect()
}

#[test]
fn a_silent_partition_does_not_stop_the_watermark() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.topic("transactions", 3), cluster.topic("predictions", 1));
    input.produce(rising(&[0, 1], 0..2000));
    let url = input.url_with("idle-after=1s");
    let child = live_job(&url, &output.url(), scratch.path(), 2).spawn().unwrap();
    // The last ones are pending until the watermark has passed them.
    until("predictions come though partition 2 is silent", || output.committed().len() >= 1990);
    // The silent partition gets records after all, with current times.
    input.produce(rising(&[2], 2000..3000));
    input.produce(rising(&[0, 1], 3000..4000));
    until("those of partition 2 come too", || output.committed().len() >= 3900);
    let report = stop(child);
    assert_eq!(counter(&report, "transactions", "behind_watermark"), 0, "{report}");
    assert_eq!(counter(&report, "card-velocity", "late"), 0, "{report}");
    assert_eq!(counter(&report, "transactions", "records_in"), 4000);
}

#[test]
fn a_partition_ten_minutes_behind_loses_nothing() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.topic("transactions", 2), cluster.topic("predictions", 1));
    const EACH: usize = 30_000;
    let ten_minutes = 10 * MINUTE_MS;
    input.produce((0..EACH).map(|n| transaction(0, 2 * n, ten_minutes + n as i64 * 20)));
    input.produce((0..EACH).map(|n| transaction(1, 2 * n + 1, n as i64 * 20)));
    for workers in [1, 2] {
        let output = if workers == 1 { &output } else { &cluster.topic("predictions", 1) };
        let checkpoints = scratch.path().join(workers.to_string());
        let done = finish(&mut job(&input, &output.url(), &checkpoints, workers));
        let report = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(counter(&report, "transactions", "behind_watermark"), 0, "{workers} workers: {report}");
        assert_eq!(counter(&report, "card-velocity", "late"), 0, "{workers} workers: {report}");
        assert_eq!(output.committed().len(), 2 * EACH, "{workers} workers");
    }
}

#[test]
fn a_partition_added_while_running_is_read_from_its_first_record() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.topic("transactions", 2), cluster.topic("predictions", 1));
    let page = free_address().to_string();
    let url = input.url_with("idle-after=1s&discovery=200ms");
    let mut command = live_job(&url, &output.url(), scratch.path(), 2);
    let child = command.args(["--http", &page]).spawn().unwrap();
    input.produce(rising(&[0, 1], 0..1000));
    until("predictions come", || output.committed().len() >= 900);
    input.add_partitions(4);
    let partitions = || {
        let status = status(&page)?;
        let source = status["operators"].as_array()?.iter().find(|o| o["name"] == "transactions")?.clone();
        source["gauges"]["partitions"].as_i64()
    };
    until("the new partitions are found", || partitions() == Some(4));
    input.produce(rising(&[0, 1, 2, 3], 1000..9000));
    until("their predictions come", || output.committed().len() >= 8900);
    let report = stop(child);
    assert_eq!(counter(&report, "transactions", "behind_watermark"), 0, "{report}");
    assert_eq!(counter(&report, "card-velocity", "late"), 0, "{report}");
    assert_eq!(counter(&report, "transactions", "records_in"), 9000);
    // The checkpoint has the new partitions, so records that arrive while the job is stopped are read once.
    input.produce(rising(&[2, 3], 9000..10_000));
    finish(&mut job(&input, &output.url(), scratch.path(), 3));
    assert_eq!(output.committed().len(), 10_000);
}
