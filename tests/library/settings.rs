//! Settings of operators: impossible durations are refused by name when the program is built, and settings are data.

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tidemill::drift::DriftSettings;
use tidemill::infer::SessionSettings;
use tidemill::infer::server::{CircuitSettings, ServerSettings};
use tidemill::prelude::*;
use tidemill::stream::KeyedStream;

/// Returns the error of a program with the faulty operator, which is named "at fault".
fn refused(
    build: impl for<'s> Fn(KeyedStream<'s, u8, u8>, &'static str) -> Result<(), JobError> + Send + Sync + 'static,
) -> String {
    let source = vec_source(vec![(EventTime(0), 0_u8)]);
    let job = Job::new("lengths", JobSettings::default());
    let run = job.run(move |flow| build(flow.source("events", &source)?.key_by(|n: &u8| *n), "at fault"));
    run.map(|_| ()).expect_err("a refusal").report()
}

fn says(error: &str, wanted: &str) {
    assert!(error.contains("operator \"at fault\"") && error.contains(wanted), "{error} does not say {wanted}");
}

const FRACTION: Duration = Duration::from_micros(1_500);
/// A duration of more milliseconds than event time has.
const BEYOND: Duration = Duration::from_secs(u64::MAX);

/// Checks that a setting refuses durations that are too long or not whole milliseconds, and zero unless `zero` allows
/// it.
fn refuses_lengths(
    setting: &str,
    zero: bool,
    build: impl for<'s> Fn(KeyedStream<'s, u8, u8>, &'static str, Duration) -> Result<(), JobError>
    + Copy
    + Send
    + Sync
    + 'static,
) {
    let of = |length: Duration| refused(move |events, name| build(events, name, length));
    says(&of(FRACTION), &format!("{setting} is 1.5ms, but event time has whole milliseconds"));
    says(&of(BEYOND), &format!("{setting} is {BEYOND:?}, which is longer than all of event time"));
    if !zero {
        says(&of(Duration::ZERO), &format!("{setting} is 0: it must be above 0"));
    }
}

#[test]
fn invalid_lengths_of_windows_are_refused() {
    let windows = |assigner: fn(Duration) -> Assigner| {
        move |events: KeyedStream<'_, u8, u8>, name: &'static str, length: Duration| {
            events.window(name, assigner(length)).aggregate(counting()).map(|_| ())
        }
    };
    refuses_lengths("the size of tumbling windows", false, windows(Assigner::tumbling));
    refuses_lengths("the size of sliding windows", false, windows(|size| Assigner::sliding(size, secs(1))));
    refuses_lengths("the slide of sliding windows", false, windows(|slide| Assigner::sliding(secs(1), slide)));
    refuses_lengths("the gap of sessions", false, windows(Assigner::session));
    refuses_lengths("the offset of tumbling windows", true, windows(|by| Assigner::tumbling(secs(1)).offset(by)));
    refuses_lengths(
        "the offset of sliding windows",
        true,
        windows(|by| Assigner::sliding(secs(2), secs(1)).offset(by)),
    );
    refuses_lengths("the allowed lateness of windows", true, |events, name, length| {
        events.window(name, Assigner::Global).allowed_lateness(length).aggregate(counting()).map(|_| ())
    });
    refuses_lengths("the interval of a trigger's early results", false, |events, name, every| {
        let trigger = Trigger::on_watermark().early_every(every, TimeDomain::Event);
        events.window(name, Assigner::Global).trigger(trigger).aggregate(counting()).map(|_| ())
    });
    let error = refused(|events, name| {
        events.window(name, Assigner::sliding(secs(1), secs(2))).aggregate(counting()).map(|_| ())
    });
    says(&error, "the slide of sliding windows is 2s, above their size of 1s");
}

#[test]
fn invalid_lengths_of_other_operators_are_refused() {
    refuses_lengths("the horizon of a deduplication", false, |events, name, horizon| {
        events.deduplicate(name, horizon).map(|_| ())
    });
    refuses_lengths("the interval of a rate", false, |events, name, per| {
        events.throttle(name, Rate { records: 1, per, clock: TimeDomain::Event }).map(|_| ())
    });
    refuses_lengths("the time of a pattern", true, |events, name, within| {
        events.find(name, Pattern::begin(within, |_| true)).map(|_| ())
    });
    says(
        &refused(|events, name| {
            events.throttle(name, Rate { records: 0, per: secs(1), clock: TimeDomain::Event }).map(|_| ())
        }),
        "the records of a rate are 0",
    );
}

#[test]
fn batches_without_records_and_times_of_zero_are_refused() {
    let look_up = |settings: LookupSettings, fetching: FetchSettings| {
        let source = vec_source(vec![(EventTime(0), 0_u8)]);
        let run = Job::new("batches", JobSettings::default()).run(move |flow| {
            let open = || |keys: &[u8]| Ok::<_, std::io::Error>(vec![Some(0_u8); keys.len()]);
            let events = flow.source("events", &source)?;
            events.lookup_join_async("at fault", &settings, &fetching, |n| *n, open).map(|_| ())
        });
        run.map(|_| ()).expect_err("a refusal").report()
    };
    let settings = LookupSettings { max_batch_size: 0, ..LookupSettings::default() };
    says(&look_up(settings, FetchSettings::default()), "max_batch_size is 0: a batch has at least one record");
    let pool = PoolSettings { deadline: Some(Duration::ZERO), ..PoolSettings::default() };
    let fetching = FetchSettings { pool, ..FetchSettings::default() };
    says(&look_up(LookupSettings::default(), fetching), "deadline is 0: every batch would miss it");
}

/// Returns the error of a join of the events with themselves.
fn both(between: Between) -> String {
    let source = vec_source(vec![(EventTime(0), 0_u8)]);
    let run = Job::new("lengths", JobSettings::default()).run(move |flow| {
        let events = flow.source("events", &source)?;
        let keyed = || events.clone().key_by(|n: &u8| *n);
        keyed().interval_join("at fault", keyed(), between, JoinKind::Inner).map(|_| ())
    });
    run.map(|_| ()).expect_err("a refusal").report()
}

#[test]
fn invalid_bounds_of_an_interval_join_are_refused() {
    says(&both(Between::new(earlier(FRACTION), later(secs(1)))), "the lower bound of an interval join is 1.5ms");
    says(&both(Between::new(earlier(secs(1)), later(BEYOND))), "the upper bound of an interval join is");
    says(
        &both(Between::new(later(secs(2)), earlier(secs(1)))),
        "the lower bound of an interval join is 2s later, after the upper bound, 1s earlier",
    );
    assert_eq!((earlier(Duration::ZERO), later(Duration::ZERO)), (TimeOffset::SAME, TimeOffset::SAME));
}

/// Checks that an empty file yields the defaults, that written settings are read back, and that unknown fields are
/// refused.
fn is_data<S: Default + Clone + Debug + PartialEq + Serialize + DeserializeOwned>(changed: S, written: &Json) {
    assert_eq!(serde_json::from_value::<S>(json!({})).unwrap(), S::default());
    assert_ne!(changed, S::default());
    let found = serde_json::to_value(&changed).unwrap();
    let fields = written.as_object().unwrap();
    assert!(fields.iter().all(|(field, value)| found[field] == *value), "{found} is not {written}");
    assert_eq!(serde_json::from_value::<S>(found).unwrap(), changed);
    assert_eq!(serde_json::from_value::<S>(written.clone()).unwrap(), changed);
    assert!(serde_json::from_value::<S>(json!({ "not a setting": 1 })).is_err());
}

#[test]
fn settings_are_data() {
    let pool = PoolSettings { deadline: Some(millis(500)), ordered: false, ..PoolSettings::default() };
    is_data(pool.clone(), &json!({ "deadline": "500ms", "ordered": false }));
    is_data(
        InferSettings { max_delay: millis(3), latency_target: Some(secs(1)), ..InferSettings::default() },
        &json!({ "max_delay": "3ms", "latency_target": "1s" }),
    );
    is_data(
        LookupSettings { ttl: hours(1), cache_rows: 3, ..LookupSettings::default() },
        &json!({ "ttl": "1h", "cache_rows": 3 }),
    );
    is_data(
        FetchSettings { pool, backoff: secs(2), ..FetchSettings::default() },
        &json!({ "pool": { "threads": 2, "max_in_flight": null, "ordered": false, "deadline": "500ms" }, "backoff": "2s" }),
    );
    is_data(ServerSettings { deadline: secs(2), ..ServerSettings::default() }, &json!({ "deadline": "2s" }));
    is_data(DriftSettings { window: minutes(5), ..DriftSettings::default() }, &json!({ "window": "5m" }));
    is_data(CircuitSettings { open_for: minutes(1), ..CircuitSettings::default() }, &json!({ "open_for": "1m" }));
    is_data(
        SessionSettings { intra_threads: 3.try_into().unwrap(), ..SessionSettings::default() },
        &json!({ "intra_threads": 3 }),
    );
    let rate = Rate { records: 2, per: minutes(1), clock: TimeDomain::Processing };
    let written = json!({ "records": 2, "per": "1m", "clock": "processing" });
    assert_eq!(serde_json::to_value(rate).unwrap(), written);
    assert_eq!(serde_json::from_value::<Rate>(written).unwrap(), rate);
}
