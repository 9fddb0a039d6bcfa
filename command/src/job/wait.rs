//! Waits for what a job was asked for, by looking again and again.

use std::time::Duration;

/// Time between two looks.
pub const LOOK: Duration = Duration::from_millis(200);

#[expect(clippy::disallowed_methods, reason = "the command waits for a job, and does nothing else meanwhile")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
