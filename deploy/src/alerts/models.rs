//! Alerts of models.

use super::alert::{Alert, OPERATOR, Severity};
use super::series::{MODEL, and, series};
use crate::span::Times;

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![not_scored(times), fallback(times), server_failing(times), circuit_open(times), slow(times)]
}

const RECORDS: &str = "tidemill_model_records_total";

/// Returns the condition that more than 1 % of the records have this origin.
fn share(origin: &str, times: &Times) -> String {
    let window = times.mins(5);
    format!(
        "sum by ({OPERATOR}) (increase({RECORDS}{{origin=\"{origin}\"}}[{window}]))\n  \
         > 0.01 * sum by ({OPERATOR}) (increase({RECORDS}[{window}]))"
    )
}

fn not_scored(times: &Times) -> Alert {
    Alert::new(
        "TidemillModelErrors",
        Severity::Page,
        "More than 1 % of the records of {{ $labels.operator }} in {{ $labels.job_name }} are scored by no model.",
        &share("default", times),
        times.mins(5),
    )
    .of("score")
    .fires(
        "all get the default",
        [
            series(RECORDS, &and(MODEL, "origin", "model"), "0+3000x120 363000x130"),
            series(RECORDS, &and(MODEL, "origin", "default"), "0x120 0+3000x130"),
        ],
    )
    .quiet("one in a thousand does", [series(RECORDS, &and(MODEL, "origin", "default"), "0x120 0+3x130")])
}

fn fallback(times: &Times) -> Alert {
    Alert::new(
        "TidemillModelFallback",
        Severity::Ticket,
        "More than 1 % of the records of {{ $labels.operator }} in {{ $labels.job_name }} are scored by its fallback.",
        &share("fallback", times),
        times.mins(10),
    )
    .of("score")
    .fires("every tenth is", [series(RECORDS, &and(MODEL, "origin", "fallback"), "0+1x120 121+300x130")])
}

fn server_failing(times: &Times) -> Alert {
    let window = times.mins(5);
    let [calls, failures] = ["calls", "failures"].map(|what| format!("tidemill_model_server_{what}_total"));
    Alert::new(
        "TidemillModelServerFailing",
        Severity::Ticket,
        "More than 1 % of the calls to the model server of {{ $labels.operator }} in {{ $labels.job_name }} fail.",
        &format!(
            "sum by ({OPERATOR}) (increase({failures}[{window}]))\n  \
             > 0.01 * sum by ({OPERATOR}) (increase({calls}[{window}]))"
        ),
        times.mins(5),
    )
    .of("score")
    .fires("every tenth fails", [series(&failures, MODEL, "0x120 0+6x130")])
    .quiet("some failed while it was restarted", [series(&failures, MODEL, "0x200 0+6x6 36x50")])
}

fn circuit_open(times: &Times) -> Alert {
    let open = "tidemill_model_server_circuit_open";
    Alert::new(
        "TidemillModelServerCircuitOpen",
        Severity::Page,
        "{{ $labels.operator }} of {{ $labels.job_name }} has given up its model server for now: its circuit is open.",
        &format!("max by ({OPERATOR}) ({open}) > 0"),
        times.mins(2),
    )
    .of("score")
    .fires("it is open", [series(open, MODEL, "0x120 1x130")])
    .quiet("it was open for a minute", [series(open, MODEL, "0x234 1x2 0x20")])
}

fn slow(times: &Times) -> Alert {
    let window = times.mins(5);
    let buckets = "tidemill_latency_seconds_bucket";
    let up_to = |le: &str| series(buckets, &and(&and(MODEL, "stage", "inference"), "le", le), "0+30x120 3600x130");
    Alert::new(
        "TidemillModelSlow",
        Severity::Ticket,
        "One run of the model of {{ $labels.operator }} in {{ $labels.job_name }} takes more than a second (p99).",
        &format!(
            "histogram_quantile(0.99,\n  sum by ({OPERATOR}, le) (rate({buckets}{{stage=\"inference\"}}[{window}]))) > 1"
        ),
        times.mins(10),
    )
    .of("score")
    .fires("all take a second to five", [up_to("0.05"), up_to("0.1"), up_to("1")])
}
