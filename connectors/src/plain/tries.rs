//! When the parsers of plain text are not tried.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Number of refusals in a row after which text is not tried for a while.
const REFUSALS: u32 = 16;
/// Number of texts that are not tried then.
const PAUSE: u32 = 1024;

/// Remembers that texts were refused one after the other, because of their type or of how they are written. Then most
/// of them go to the other parser at once and are not parsed twice. Threads may share it: it only saves time.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    refusals: AtomicU32,
    pause: AtomicU32,
}

impl Tries {
    /// Returns whether the next text should be tried.
    #[inline]
    pub(crate) fn go_on(&self) -> bool {
        let pause = self.pause.load(Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Relaxed);
        }
        pause == 0
    }

    /// Makes the pause long enough for a test of the other parser.
    #[cfg(test)]
    pub(crate) fn stop(&self) {
        self.pause.store(u32::MAX, Relaxed);
    }

    /// Notes the result of a try.
    #[inline]
    pub(crate) fn note(&self, was_taken: bool) {
        let refusals = self.refusals.load(Relaxed);
        if was_taken {
            if refusals > 0 {
                self.refusals.store(0, Relaxed);
            }
        } else if refusals + 1 < REFUSALS {
            self.refusals.store(refusals + 1, Relaxed);
        } else {
            self.refusals.store(0, Relaxed);
            self.pause.store(PAUSE, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_a_row_make_a_pause() {
        let tries = Tries::default();
        let refuse = || (0..10_000).filter(|_| tries.go_on()).map(|_| tries.note(false)).count();
        let tried = refuse();
        assert!((150..250).contains(&tried), "{tried}");
        while !tries.go_on() {}
        for _ in 0..100 {
            assert!(tries.go_on());
            tries.note(false);
            tries.note(true);
        }
    }
}
