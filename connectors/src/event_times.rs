//! What every source that reads on has to do with event times: the methods of its builder, which set fields of its `settings`,
//! and what it states of itself to the engine.

/// Defines `max_out_of_orderness`, `lead` and `max_ahead` of a builder. `$split` is what has a latest event time of its own, as in
/// `"of its partition "`.
macro_rules! event_time_settings {
    ($split:literal) => {
        #[doc = concat!("Sets how far a record may be behind the latest event time ", $split, "without being late, in whole")]
        /// milliseconds. Default: 0.
        #[must_use]
        pub fn max_out_of_orderness(mut self, bound: std::time::Duration) -> Self {
            self.settings.max_out_of_orderness = bound;
            self
        }

        /// Sets by how much the event times of this source are, by their nature, ahead of those of the job's other sources
        /// ([`Source::lead`]). Default: 0.
        #[must_use]
        pub fn lead(mut self, lead: std::time::Duration) -> Self {
            self.settings.lead = lead;
            self
        }

        /// Sets how far ahead of the clock an event time may be. A record beyond that becomes a dead letter and does not advance
        /// the watermark. Default: the setting of the job (`JobSettings::max_ahead`).
        #[must_use]
        pub fn max_ahead(mut self, bound: std::time::Duration) -> Self {
            self.settings.max_ahead = Some(bound);
            self
        }
    };
}

/// Defines the methods of `Source` that state these settings.
macro_rules! event_time_statements {
    () => {
        fn lead(&self) -> std::time::Duration {
            self.settings.lead
        }

        fn max_out_of_orderness(&self) -> std::time::Duration {
            self.settings.max_out_of_orderness
        }

        fn max_ahead(&self) -> Option<std::time::Duration> {
            self.settings.max_ahead
        }
    };
}

pub(crate) use {event_time_settings, event_time_statements};
