//! Counters of a program's own: the logic of an operator asks for them by name while it handles a record.

use std::sync::Arc;

use super::operator::OperatorMetrics;
use super::values::Counter;

/// Number of counters that one operator may have; others are not counted. Each is a time series of its own for each
/// worker.
const MOST: usize = 32;

/// The counters that the logic of one operator has asked for, on one worker.
pub(crate) struct UserCounters {
    metrics: Arc<OperatorMetrics>,
    known: Vec<(&'static str, Counter)>,
    /// Stands in for the counters for which there is no room; it is shown nowhere.
    spare: Option<Counter>,
}

impl UserCounters {
    pub(crate) fn new(metrics: Arc<OperatorMetrics>) -> Self {
        Self { metrics, known: Vec::new(), spare: None }
    }

    /// Returns the counter of this name. They are few, so the list is searched from its front.
    pub(crate) fn get(&mut self, name: &'static str) -> &Counter {
        let at = self.known.iter().position(|(known, _)| *known == name).unwrap_or_else(|| self.add(name));
        match self.known.get(at) {
            Some((_, counter)) => counter,
            None => self.spare.get_or_insert_default(),
        }
    }

    /// Registers a counter. Returns its place, which is behind the list if there is no room.
    fn add(&mut self, name: &'static str) -> usize {
        let at = self.known.len();
        if at < MOST {
            self.known.push((name, self.metrics.user_counter(name)));
        } else if self.spare.is_none() {
            let operator = &self.metrics.name;
            tracing::warn!(
                operator,
                name,
                "the operator has {MOST} counters already: this one and others are not counted"
            );
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::Metrics;
    use super::*;

    #[test]
    fn a_name_has_one_counter() {
        let metrics = Metrics::default();
        let mut counters = UserCounters::new(metrics.operator("mine", "keyed", 0));
        counters.get("ties").add(1);
        counters.get("records_in").add(5);
        counters.get("ties").add(2);
        let [operator] = &metrics.snapshot()[..] else { panic!("one operator expected") };
        assert_eq!((operator.user_counters["ties"], operator.user_counters["records_in"]), (3, 5));
        assert_eq!(operator.counters["records_in"], 0, "the operator's own is another");
    }

    #[test]
    fn the_number_of_counters_has_a_bound() {
        let metrics = Metrics::default();
        let mut counters = UserCounters::new(metrics.operator("mine", "keyed", 0));
        let names = (0..MOST + 5).map(|n| -> &'static str { n.to_string().leak() });
        names.for_each(|name| counters.get(name).add(1));
        assert_eq!(metrics.snapshot()[0].user_counters.len(), MOST);
    }
}
