//! The job on machines as a whole pipeline: a window below the threshold is an alert, and any other a row of a table.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use testkit::postgres::Postgres;
use testkit::{finish, lines};

use crate::job::{self, Windows, window_of};
use crate::server::{alone, execute, query, server};
use tests::crashes::dies_at;

fn pipeline(server: &Postgres, scratch: &Path, workers: usize) -> Command {
    let mut command = job::simulated();
    command.args(["--workers", &workers.to_string(), "--checkpoint-interval", "50ms", "--threshold", "0.05"]);
    command.arg("--normal").arg(format!("{}?table=normal", server.url()));
    command.arg("--alerts").arg(scratch.join("alerts"));
    command.arg("--checkpoint-dir").arg(scratch.join("checkpoints"));
    command
}

#[test]
fn each_window_is_an_alert_or_a_row_once_through_two_crashes() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let expected = job::expected(scratch.path());
    execute(
        &server,
        "drop table if exists normal, tidemill_marker;
         create table normal (machine_id text, window_start timestamptz, score float4, model text, count int,
           features jsonb, primary key (machine_id, window_start))",
    );
    dies_at(&mut pipeline(&server, scratch.path(), 2), "after-manifest:2");
    dies_at(&mut pipeline(&server, scratch.path(), 1), "before-marker:3");
    finish(&mut pipeline(&server, scratch.path(), 2));
    let alerts = lines(&scratch.path().join("alerts"));
    let alerted: Windows = alerts.iter().map(|line| window_of(line)).collect();
    let rows = query(
        &server,
        "select machine_id, (extract(epoch from window_start) * 1000)::bigint, score, count::bigint,
           (features->>'pressure_mean')::float8 from normal",
    );
    let normal: Windows = rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect();
    assert!(rows.iter().all(|row| row.get::<_, f64>(4).is_finite()), "the features are there");
    assert_eq!((alerts.len(), rows.len()), (alerted.len(), normal.len()), "a window is there twice");
    let (below, others): (BTreeSet<_>, BTreeSet<_>) = expected.keys().cloned().partition(|key| expected[key].0 < 0.05);
    assert!(!below.is_empty() && !others.is_empty(), "the threshold is between the scores");
    assert!(alerted.keys().eq(&below) && normal.keys().eq(&others), "a window is at the wrong place, or missing");
    assert!(alerted.iter().chain(&normal).all(|(key, window)| expected[key] == *window), "another score");
}
