//! The samples of all operators of a process, one for each worker.

use super::activity::{Activity, Spent};
use super::family::Family;
use super::histogram::Counts;
use super::list as families;
use super::native::Native;
use super::operator::OperatorMetrics;
use super::own::{Place, per_base_unit, place};
use super::partitions::{PartitionMetrics, PartitionState};
use super::registry::Metrics;
use super::samples::Samples;
use super::snapshot::PartitionSnapshot;
use super::values::Distribution;

impl Metrics {
    /// Adds the samples of all operators.
    pub(crate) fn expose(&self, samples: &mut Samples) {
        self.operators().iter().for_each(|operator| Exposed::new(operator, samples).all());
    }
}

impl Distribution {
    /// Adds a distribution that is not of an operator; its values are microseconds.
    pub(crate) fn expose(&self, samples: &mut Samples, family: &'static Family, labels: &[(&str, &str)]) {
        samples.add_counts(family, labels, self.counts(1e6, samples.native));
    }

    fn counts(&self, per: f64, native: bool) -> Counts {
        let native = native.then(|| Native::of(&self.lock(), per));
        Counts { native, ..self.buckets().read(per) }
    }
}

struct Exposed<'a> {
    operator: &'a OperatorMetrics,
    worker: String,
    samples: &'a mut Samples,
}

impl<'a> Exposed<'a> {
    fn new(operator: &'a OperatorMetrics, samples: &'a mut Samples) -> Self {
        Self { operator, worker: operator.worker.to_string(), samples }
    }

    fn all(&mut self) {
        self.common();
        self.times();
        self.partitions();
        self.own();
    }

    fn common(&mut self) {
        let operator = self.operator;
        self.add(&families::RECORDS_IN, operator.records_in.get() as f64);
        self.add(&families::RECORDS_OUT, operator.records_out.get() as f64);
        match operator.kind {
            "source" => self.add(&families::BEHIND_WATERMARK, operator.late.get() as f64),
            "keyed" => self.add(&families::LATE, operator.late.get() as f64),
            _ => {}
        }
        self.add(&families::DEAD_LETTERS, operator.dead_letters.get() as f64);
        for (reason, count) in operator.reasons() {
            self.add_with(&families::DEAD_LETTERS_BY_REASON, ("reason", &reason), count as f64);
        }
        // Before the first watermark, and at the end of time, there is no time to show.
        let watermark = operator.watermark.get();
        if watermark != i64::MIN && watermark != i64::MAX {
            self.add(&families::WATERMARK, watermark as f64 / 1e3);
        }
    }

    fn times(&mut self) {
        let Spent { busy, idle, backpressured, in_turn: _ } = self.operator.times.read();
        let states = [(Activity::Busy, busy), (Activity::Idle, idle), (Activity::Backpressured, backpressured)];
        for (activity, ns) in states {
            self.add_with(&families::TIME, ("state", activity.as_str()), ns as f64 / 1e9);
        }
    }

    /// Adds the metrics that the operator has registered under names of its own.
    fn own(&mut self) {
        let operator = self.operator;
        let more = operator.more();
        for (name, counter) in &more.counters {
            self.add_own(name, &families::USER_EVENTS, counter.get() as f64 / per_base_unit(name));
        }
        for (name, counter) in &more.user_counters {
            self.add_with(&families::USER_EVENTS, ("name", name), counter.get() as f64);
        }
        for (name, gauge) in &more.gauges {
            self.add_own(name, &families::USER_VALUE, gauge.get() as f64 / per_base_unit(name));
        }
        for (name, distribution) in &more.distributions {
            let otherwise = if name.ends_with("_us") { &families::USER_DURATION } else { &families::USER_SIZE };
            let (family, label) = placed(name, otherwise);
            let counts = distribution.counts(per_base_unit(name), self.samples.native);
            self.samples.add_counts(family, &labels(operator, &self.worker, label), counts);
        }
    }

    fn partitions(&mut self) {
        let partitions: Vec<_> = self.operator.more().partitions.iter().map(PartitionMetrics::snapshot).collect();
        for PartitionSnapshot { partition, watermark_ms, pending, state } in partitions {
            let label = ("partition", partition.as_str());
            if let Some(watermark_ms) = watermark_ms {
                self.add_with(&families::PARTITION_WATERMARK, label, watermark_ms as f64 / 1e3);
            }
            if let Some(pending) = pending {
                self.add_with(&families::PARTITION_PENDING, label, pending as f64);
            }
            for each in PartitionState::ALL.map(PartitionState::as_str) {
                let mut labels = labels(self.operator, &self.worker, Some(label));
                labels.push(("state", each));
                self.samples.add(&families::PARTITION_STATE, &labels, f64::from(u8::from(each == state)));
            }
        }
    }

    fn add_own(&mut self, name: &str, otherwise: &'static Family, value: f64) {
        let (family, label) = placed(name, otherwise);
        self.samples.add(family, &labels(self.operator, &self.worker, label), value);
    }

    fn add(&mut self, family: &'static Family, value: f64) {
        self.samples.add(family, &labels(self.operator, &self.worker, None), value);
    }

    fn add_with(&mut self, family: &'static Family, label: (&str, &str), value: f64) {
        self.samples.add(family, &labels(self.operator, &self.worker, Some(label)), value);
    }
}

/// Returns the family and the further label of the operator's own metric `name`.
fn placed<'n>(name: &'n str, otherwise: &'static Family) -> (&'static Family, Option<(&'static str, &'n str)>) {
    match place(name) {
        Some(Place { family, label }) => (family, label),
        None => (otherwise, Some(("name", name))),
    }
}

fn labels<'l>(
    operator: &'l OperatorMetrics,
    worker: &'l str,
    more: Option<(&'l str, &'l str)>,
) -> Vec<(&'l str, &'l str)> {
    [("operator", operator.name.as_str()), ("kind", operator.kind), ("worker", worker)]
        .into_iter()
        .chain(more)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::*;
    use crate::time::EventTime;

    fn text(metrics: &Metrics) -> String {
        let mut samples = Samples::default();
        metrics.expose(&mut samples);
        samples.text(Format::Prometheus)
    }

    #[test]
    fn each_worker_has_samples_of_its_own_and_each_family_is_written_once() {
        let metrics = Metrics::default();
        for worker in 0..2 {
            let operator = metrics.operator("score", "batch", worker);
            operator.records_in.add(10 + worker as u64);
            operator.counter("encode_ns").add(1_500_000_000);
            operator.counter("scored").add(3);
            operator.distribution("batch_latency_us").record(150);
        }
        let text = text(&metrics);
        let line = |line: &str| assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        line("tidemill_operator_records_in_total{operator=\"score\",kind=\"batch\",worker=\"0\"} 10");
        line("tidemill_operator_records_in_total{operator=\"score\",kind=\"batch\",worker=\"1\"} 11");
        line("tidemill_model_time_seconds_total{operator=\"score\",kind=\"batch\",worker=\"1\",step=\"encode\"} 1.5");
        line("tidemill_model_records_total{operator=\"score\",kind=\"batch\",worker=\"1\",origin=\"model\"} 3");
        line("tidemill_latency_seconds_count{operator=\"score\",kind=\"batch\",worker=\"0\",stage=\"batch\"} 1");
        let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let all = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), all);
    }

    #[test]
    fn there_is_no_watermark_before_the_first_and_after_the_last() {
        let metrics = Metrics::default();
        let operator = metrics.operator("windows", "keyed", 0);
        let shown = || text(&metrics).contains("tidemill_watermark_timestamp_seconds");
        assert!(!shown());
        operator.watermark.set(1_700_000_000_500);
        assert!(text(&metrics).contains("worker=\"0\"} 1700000000.5\n"));
        operator.watermark.set(i64::MAX);
        assert!(!shown());
    }

    #[test]
    fn a_partition_has_its_state_and_what_is_known_of_it() {
        let metrics = Metrics::default();
        let partition = metrics.operator("orders", "source", 0).partition("orders/3");
        let labels = "{operator=\"orders\",kind=\"source\",worker=\"0\",partition=\"orders/3\"";
        assert!(text(&metrics).contains(&format!("tidemill_source_partition_state{labels},state=\"active\"}} 1\n")));
        assert!(!text(&metrics).contains("tidemill_source_pending_records"));
        partition.set(PartitionState::Paused, EventTime(1_500), Some(7));
        let text = text(&metrics);
        for sample in [
            format!("tidemill_source_partition_state{labels},state=\"paused\"}} 1\n"),
            format!("tidemill_source_partition_state{labels},state=\"active\"}} 0\n"),
            format!("tidemill_source_watermark_timestamp_seconds{labels}}} 1.5\n"),
            format!("tidemill_source_pending_records{labels}}} 7\n"),
        ] {
            assert!(text.contains(&sample), "{sample} is not in\n{text}");
        }
    }

    #[test]
    fn what_only_the_program_knows_has_its_name_as_a_label() {
        let metrics = Metrics::default();
        let operator = metrics.operator("mine", "batch", 0);
        operator.counter("ties").add(2);
        operator.gauge("depth").set(-3);
        operator.distribution("wait_us").record(1);
        operator.distribution("letters").record(1);
        let text = text(&metrics);
        for sample in [
            "tidemill_user_events_total{operator=\"mine\",kind=\"batch\",worker=\"0\",name=\"ties\"} 2",
            "tidemill_user_value{operator=\"mine\",kind=\"batch\",worker=\"0\",name=\"depth\"} -3",
            "tidemill_user_duration_seconds_count{operator=\"mine\",kind=\"batch\",worker=\"0\",name=\"wait_us\"} 1",
            "tidemill_user_size_count{operator=\"mine\",kind=\"batch\",worker=\"0\",name=\"letters\"} 1",
        ] {
            assert!(text.contains(sample), "{sample} is not in\n{text}");
        }
    }
}
