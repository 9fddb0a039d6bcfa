//! Alerts of event time, and of how the job keeps up with its input.

use super::alert::{Alert, OPERATOR, Severity};
use super::series::{KEYED, SINK, SOURCE, and, series};
use crate::span::Times;

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![stalled(times), lagging(times), lag_growing(times), late(times), backpressured(times), state_near_limit(times)]
}

const WATERMARK: &str = "tidemill_watermark_timestamp_seconds";
const READ: &str = "tidemill_operator_records_in_total{kind=\"source\"}";

/// Where results are made: a source whose watermark stands while nobody waits for it is no alert.
fn stalled(times: &Times) -> Alert {
    let window = times.mins(5);
    Alert::new(
        "TidemillWatermarkStalled",
        Severity::Page,
        "The watermark of {{ $labels.operator }} in {{ $labels.job_name }} stands still while records come in.",
        &format!(
            "max by ({OPERATOR}) (changes({WATERMARK}{{kind=~\"keyed|sink\"}}[{window}])) == 0\n  and on (job, instance)\n\
             sum by (job, instance) (rate({READ}[{window}])) > 0"
        ),
        times.mins(2),
    )
    .of("totals")
    .fires("one source of two holds it", [series(WATERMARK, KEYED, "-2+30x120 3598x130")])
    .quiet(
        "nothing comes in",
        [
            series(WATERMARK, KEYED, "-2+30x120 3598x130"),
            series(WATERMARK, SINK, "-2+30x120 3598x130"),
            series("tidemill_operator_records_in_total", SOURCE, "0+3000x120 360000x130"),
        ],
    )
}

fn lagging(times: &Times) -> Alert {
    let most = times.mins(5).seconds();
    Alert::new(
        "TidemillWatermarkLagging",
        Severity::Ticket,
        "The source {{ $labels.operator }} of {{ $labels.job_name }} is minutes behind the clock, by event time.",
        &format!("time() - min by ({OPERATOR}) ({WATERMARK}{{kind=\"source\"}}) > {most}"),
        times.mins(5),
    )
    .of("payments")
    .fires("it is ten minutes behind", [series(WATERMARK, SOURCE, "-2+30x120 3000+30x130")])
    .quiet("it is three minutes behind", [series(WATERMARK, SOURCE, "-2+30x120 3420+30x130")])
}

fn lag_growing(times: &Times) -> Alert {
    let (window, rate, most) = (times.mins(10), times.mins(5), times.mins(1).seconds());
    Alert::new(
        "TidemillSourceLagGrowing",
        Severity::Ticket,
        "{{ $labels.job_name }} reads {{ $labels.operator }} more slowly than it is written.",
        &format!(
            "sum by ({OPERATOR}) (deriv(tidemill_source_lag_records[{window}])) > 0\n  and\n\
             sum by ({OPERATOR}) (tidemill_source_lag_records)\n  > {most} * sum by ({OPERATOR}) (rate({READ}[{rate}]))"
        ),
        times.mins(30),
    )
    .of("payments")
    .fires("it grows by 10 a second", [series("tidemill_source_lag_records", SOURCE, "50x100 1000+300x150")])
    .quiet("it is large, and shrinks", [series("tidemill_source_lag_records", SOURCE, "50x100 90000-300x150")])
    .quiet(
        "it grows, and is less than what is read in a minute",
        [series("tidemill_source_lag_records", SOURCE, "50x100 50+1x150")],
    )
}

fn late(times: &Times) -> Alert {
    let window = times.mins(5);
    let (late, all) = ("tidemill_operator_late_records_total", "tidemill_operator_records_in_total{kind=\"keyed\"}");
    Alert::new(
        "TidemillLateRecords",
        Severity::Ticket,
        "More than 1 % of the records of {{ $labels.operator }} in {{ $labels.job_name }} are late.",
        &format!(
            "sum by ({OPERATOR}) (increase({late}[{window}]))\n  > 0.01 * sum by ({OPERATOR}) (increase({all}[{window}]))"
        ),
        times.mins(10),
    )
    .of("totals")
    .fires("2 % are late", [series(late, KEYED, "0+3x120 363+60x130")])
    .quiet("half a percent is late", [series(late, KEYED, "0+3x120 363+15x130")])
}

fn backpressured(times: &Times) -> Alert {
    let window = times.mins(5);
    let time = "tidemill_operator_time_seconds_total";
    Alert::new(
        "TidemillBackpressured",
        Severity::Ticket,
        "{{ $labels.operator }} of {{ $labels.job_name }} is held back for more than half of the time.",
        &format!("max by ({OPERATOR}) (rate({time}{{state=\"backpressured\"}}[{window}])) > 0.5"),
        times.mins(10),
    )
    .of("payments")
    .fires(
        "it is held back for 80 % of the time",
        [series(time, &and(SOURCE, "state", "backpressured"), "0+3x120 363+24x130")],
    )
    .quiet("it is held back for a third", [series(time, &and(SOURCE, "state", "backpressured"), "0+3x120 363+10x130")])
    .quiet(
        "it catches up for eight minutes",
        [series(time, &and(SOURCE, "state", "backpressured"), "0+3x180 543+30x16 1023+3x60")],
    )
}

fn state_near_limit(times: &Times) -> Alert {
    let (state, labels) = ("tidemill_state_bytes", r#"operator="totals",state="sum",worker="0""#);
    Alert::new(
        "TidemillStateNearLimit",
        Severity::Ticket,
        "Keyed state of {{ $labels.job_name }} ({{ $labels.instance }}) takes more than 90 % of state_memory.",
        "sum by (job, instance) (tidemill_state_bytes)\n  > on (job, instance)\n0.9 * tidemill_state_limit_bytes",
        times.mins(10),
    )
    .fires("it takes 95 %", [series(state, labels, "5e8x120 9.5e8x130")])
    .quiet(
        "there is no limit",
        [series(state, labels, "5e8x120 9.5e8x130"), series("tidemill_state_limit_bytes", "", "_x250")],
    )
}
