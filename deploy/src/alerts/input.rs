//! Alerts of input that cannot be used, or is lost.

use super::alert::{Alert, OPERATOR, Severity};
use super::series::{SINK, SOURCE, and, series};
use crate::promql::grew;
use crate::span::{Span, Times};

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![dead_letters(times), files_lost(times), reference_refused(times), kafka_errors(times)]
}

/// The family by reason has no samples before the first dead letter, so the one without is asked.
fn dead_letters(times: &Times) -> Alert {
    let counter = "tidemill_operator_dead_letters_total";
    Alert::new(
        "TidemillDeadLetters",
        Severity::Ticket,
        "{{ $labels.operator }} of {{ $labels.job_name }} has records that it cannot use.",
        &grew(OPERATOR, counter, times.mins(5)),
        Span::ZERO,
    )
    .of("payments")
    .fires("one in a while", [series(counter, SOURCE, "0x236 1x20")])
    .fires(
        "some were counted before the first scrape",
        [series(counter, SOURCE, "_x235 7x15"), series("process_start_time_seconds", "", "_x235 7040x15")],
    )
    .quiet("there were some, an hour ago", [series(counter, SOURCE, "0x60 500x200")])
}

fn files_lost(times: &Times) -> Alert {
    let counter = "tidemill_source_lost_files_total";
    Alert::new(
        "TidemillSourceFilesLost",
        Severity::Ticket,
        "Lines of files that {{ $labels.operator }} of {{ $labels.job_name }} reads may be lost.",
        &grew(OPERATOR, counter, times.hours(1)),
        Span::ZERO,
    )
    .of("payments")
    .fires("a file was gone before it was read", [series(counter, SOURCE, "0x200 1x50")])
}

fn reference_refused(times: &Times) -> Alert {
    let counter = "tidemill_reference_versions_total";
    Alert::new(
        "TidemillReferenceRefused",
        Severity::Ticket,
        "The reference file of {{ $labels.operator }} in {{ $labels.job_name }} was replaced by one that cannot be used.",
        &grew(OPERATOR, &format!("{counter}{{result=\"refused\"}}"), times.hours(1)),
        Span::ZERO,
    )
    .of("payments")
    .fires("a version was refused", [series(counter, &and(SOURCE, "result", "refused"), "0x200 1x50")])
    .quiet("a version was taken", [series(counter, &and(SOURCE, "result", "emitted"), "1x200 2x50")])
}

fn kafka_errors(times: &Times) -> Alert {
    let (counter, window) = ("tidemill_kafka_errors_total", times.mins(5));
    Alert::new(
        "TidemillKafkaErrors",
        Severity::Ticket,
        "Kafka fails for {{ $labels.operator }} of {{ $labels.job_name }}, for minutes.",
        &format!("sum by ({OPERATOR}) (increase({counter}[{window}])) > 0"),
        times.mins(10),
    )
    .of("out")
    .fires("a broker is away", [series(counter, SINK, "0x120 0+5x130")])
    .quiet("a broker was restarted", [series(counter, SINK, "0x200 0+1x6 6x50")])
}
