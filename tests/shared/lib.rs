//! The tests of the whole, through the public API: each program is beside this folder, and its head says what it proves.
//! Here is what several of the programs use, and nothing else does.

#![allow(missing_docs, reason = "it is not published, and read beside the tests that use it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use tidemill::job::JobSettings;

pub mod beside;
pub mod certificates;
pub mod control;
pub mod crashes;
pub mod drifting;
pub mod model;
pub mod prometheus;

/// Returns the settings of a job with two workers and short epochs.
pub fn short_epochs(checkpoints: &Path) -> JobSettings {
    JobSettings {
        workers: 2,
        checkpoint_dir: Some(checkpoints.to_owned()),
        checkpoint_interval: Duration::from_millis(100),
        ..JobSettings::default()
    }
}

/// Waits until the condition is true. The test fails after a minute.
pub fn until(what: &str, is: impl FnMut() -> bool) {
    until_within(1, what, is);
}

/// Waits until the condition is true. The test fails after so many minutes.
pub fn until_within(minutes: u32, what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..600 * minutes {
        if is() {
            return;
        }
        pause();
    }
    panic!("in {minutes} min it did not come true that {what}");
}

/// Waits a moment before a running job or server is looked at again.
#[expect(clippy::disallowed_methods, reason = "it is looked at from outside")]
pub fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}
