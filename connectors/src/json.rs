//! JSON: values of files and of Kafka messages, all read in one way.

use std::str;

use serde::de::DeserializeOwned;

use crate::plain::{self, Tries};

/// Reads JSON as `serde_json` does (with the feature `float_roundtrip`), and several times as fast where it is plain.
#[derive(Debug, Default)]
pub(crate) struct Json {
    tries: Tries,
}

impl Json {
    /// Returns the value that `bytes` are, which may have several lines.
    pub(crate) fn value<T: DeserializeOwned>(&self, bytes: &[u8]) -> serde_json::Result<T> {
        let taken = self.attempt(|| plain::json::whole(str::from_utf8(bytes).ok()?, &mut String::new()).ok());
        taken.map_or_else(|| serde_json::from_slice(bytes), Ok)
    }

    /// Returns the value in the line of `text` that begins at `at`, and where the next line begins. `None` if that is
    /// for [`value`](Self::value) to say.
    #[inline]
    pub(crate) fn line<T: DeserializeOwned>(&self, text: &str, at: usize, scratch: &mut String) -> Option<(T, usize)> {
        self.attempt(|| plain::json::line(text, at, scratch).ok())
    }

    /// Leaves everything to `serde_json`.
    #[cfg(test)]
    pub(crate) fn stop(&self) {
        self.tries.stop();
    }

    #[inline]
    fn attempt<T>(&self, parse: impl FnOnce() -> Option<T>) -> Option<T> {
        if !self.tries.go_on() {
            return None;
        }
        let taken = parse();
        self.tries.note(taken.is_some());
        taken
    }
}
