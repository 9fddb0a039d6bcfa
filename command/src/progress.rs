//! How far a long action has come: on stderr, and only if that is a terminal.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemill_state::{BaseEntry, BaseFile, CheckpointStore, LocalStore, StateError};

/// Shows that an action goes on, until what is returned is dropped.
pub fn spinner(message: &'static str) -> Shown {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    Shown(bar)
}

/// What is shown, removed when this is dropped.
pub struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A store that shows how many bytes of its files were read.
pub struct Counted<'s> {
    store: &'s LocalStore,
    shown: Shown,
}

impl<'s> Counted<'s> {
    /// Shows the reading of `total` bytes.
    pub fn new(store: &'s LocalStore, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        // The template has been tried: it cannot fail.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
            bar.set_style(style);
        }
        Self { store, shown: Shown(bar) }
    }
}

impl CheckpointStore for Counted<'_> {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.store.put_new(name, bytes)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.store.put(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        self.store.get(name)
    }

    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        self.store.len(name)
    }

    fn checksum(&self, name: &str) -> Result<Option<(u64, u32)>, StateError> {
        let read = self.store.checksum(name)?;
        self.shown.0.inc(read.map_or(0, |(len, _)| len));
        Ok(read)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        self.store.list(folder)
    }

    fn temporaries(&self, folder: &str) -> Result<Vec<String>, StateError> {
        self.store.temporaries(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        self.store.delete(name)
    }

    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError> {
        self.store.adopt(name, folder)
    }

    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError> {
        self.store.fetch(base, folder)
    }

    fn locate(&self, name: &str) -> String {
        self.store.locate(name)
    }
}
