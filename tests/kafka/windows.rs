//! `iot_window` from topic to topic: its windows are the same as from a file, through a crash and with other numbers
//! of workers.

use std::path::Path;
use std::process::Command;

use crate::cluster::{Topic, alone, cluster};
use crate::job::dies_at;
use testkit::{example, finish, lines};

const SIMULATED: [&str; 4] = ["--machines", "300", "--seconds", "1000"];

fn job(input: &Topic, output: &Topic, checkpoints: &Path, workers: &str) -> Command {
    let mut command = example("iot_window");
    command.args(["--input", &input.url(), "--until-end", "--order", "event-time", "--workers", workers]);
    // The job is slow enough not to be done after a few epochs.
    command.args(["--max-in-flight", "2000", "--checkpoint-interval", "20ms"]);
    command.args(["--predictions", &output.url(), "--checkpoint-dir"]).arg(checkpoints);
    command
}

#[test]
fn windows_from_topic_to_topic_are_those_of_a_file_whatever_crashes() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("expected");
    finish(example("iot_window").args(SIMULATED).arg("--predictions").arg(&folder));
    let expected = lines(&folder);
    assert_eq!(expected.len(), 300 * 100);
    let input = cluster.topic("readings", 4);
    finish(example("iot_window").args(SIMULATED).args(["--write-input", &input.url()]));
    for place in ["mid-epoch:3", "after-manifest:2", "after-commit:2"] {
        let (output, checkpoints) = (cluster.topic("windows", 3), scratch.path().join(place));
        dies_at(&mut job(&input, &output, &checkpoints, "2"), place);
        finish(&mut job(&input, &output, &checkpoints, "3"));
        let mut found: Vec<String> = output.committed().into_iter().map(|message| message.payload).collect();
        found.sort_unstable();
        assert!(found == expected, "{place}: {} windows of {}", found.len(), expected.len());
    }
}
