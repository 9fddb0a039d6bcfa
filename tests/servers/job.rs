//! Whole programs on a model server.

use std::time::Duration;

/// Waits for what is sure to come; a test that waits a minute for it fails.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is() {
            return;
        }
        wait(Duration::from_millis(20));
    }
    panic!("in a minute it did not come true that {what}");
}

#[expect(clippy::disallowed_methods, reason = "other processes tell nobody")]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}
