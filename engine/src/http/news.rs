//! What is new in a second, for the pages that listen.

/// Events, as each page gets them.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Each with its name and its data, which is JSON.
    pub(super) events: Vec<(&'static str, String)>,
    /// Whether the job has ended: nothing comes after it.
    pub(super) last: bool,
}

impl News {
    pub(super) fn add(&mut self, name: &'static str, data: &impl serde::Serialize) {
        match serde_json::to_string(data) {
            Ok(json) => self.events.push((name, json)),
            Err(error) => tracing::error!(%error, name, "an event cannot be written as JSON"),
        }
    }
}
