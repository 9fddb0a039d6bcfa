//! The small example `kafka`: killed and started again, it writes what each shop took in each minute once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use testkit::small_example;

use crate::cluster::{Topic, alone, cluster};
use crate::job::{errors, signal};
use tests::until;

fn start(address: &str, folder: &Path) -> Command {
    let mut command = small_example("kafka");
    command.arg(address).current_dir(folder);
    command
}

/// Returns how often each shop's minute is in the topic.
fn taken(takings: &Topic) -> BTreeMap<(String, i64), usize> {
    let mut taken = BTreeMap::new();
    for line in takings.committed().iter().map(|message| message.json()) {
        let (shop, minute) = (line["shop"].as_str().unwrap().to_owned(), line["minute"].as_i64().unwrap());
        *taken.entry((shop, minute)).or_default() += 1;
    }
    taken
}

#[test]
fn the_example_continues_after_a_kill_and_writes_each_minute_once() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let refused = start(&cluster.address, folder.path()).output().unwrap();
    assert!(errors(&refused).contains("there is no topic \"payments\""), "{}", errors(&refused));

    let (_payments, takings) = (cluster.named("payments", 2), cluster.named("takings", 1));
    let mut child = start(&cluster.address, folder.path()).spawn().unwrap();
    until("the first minutes are there", || !taken(&takings).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let before = taken(&takings).len();
    let child = start(&cluster.address, folder.path()).spawn().unwrap();
    until("later minutes are there, too", || taken(&takings).len() > before);
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));

    let taken = taken(&takings);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
    let last = taken.keys().map(|(_, minute)| *minute).max().unwrap();
    for minute in 0..=last {
        let shops = taken.keys().filter(|(_, of)| *of == minute).map(|(shop, _)| shop.as_str());
        assert_eq!(shops.collect::<Vec<_>>(), ["bakery", "florist", "kiosk"], "minute {minute}");
    }
}
