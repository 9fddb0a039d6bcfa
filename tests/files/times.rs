//! Times in files: Parquet columns by their logical type, and text in CSV and JSON lines with offsets and zones.

use std::fmt::Debug;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_schema::Field;
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tidemill::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row<T> {
    at: T,
}

/// Returns the fields `at` of a file, sorted, and the reasons of dead letters.
fn read<T: DeserializeOwned + Data + Sync + Ord>(path: &Path) -> Result<(Vec<T>, Vec<String>), String> {
    let source = FileSource::new([path], |_: &Row<T>| EventTime(0));
    let (rows, letters) = (CollectSink::default(), CollectSink::default());
    let (to, letters_to) = (rows.clone(), letters.clone());
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let build = move |flow: &Flow<'_>| {
        flow.source("rows", &source)?.sink("out", &to)?;
        flow.dead_letters().sink("letters", &letters_to)
    };
    Job::new("times", args).run(build).map_err(|error| error.report())?;
    let mut found: Vec<T> = rows.data().into_iter().map(|row: Row<T>| row.at).collect();
    found.sort();
    let reasons = letters.data().into_iter().map(|letter: tidemill::stream::DeadLetter| letter.reason).collect();
    Ok((found, reasons))
}

fn all<T: DeserializeOwned + Data + Sync + Ord>(path: &Path) -> Vec<T> {
    let (found, reasons) = read(path).unwrap();
    assert!(reasons.is_empty(), "{reasons:?}");
    found
}

fn refused<T: DeserializeOwned + Data + Sync + Ord>(path: &Path, wanted: &str) {
    let error = read::<T>(path).map(|(found, _)| found.len()).unwrap_err();
    assert!(error.contains(wanted) && error.contains("\"at\""), "wanted \"{wanted}\": {error}");
}

fn write(path: &Path, column: ArrayRef) {
    let batch = RecordBatch::try_from_iter([("at", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Returns the times as a column of each unit, rounded down to it.
fn columns(ns: &[i64], zone: Option<&str>) -> [ArrayRef; 4] {
    let by = |unit: i64| ns.iter().map(|ns| ns.div_euclid(unit)).collect::<Vec<_>>();
    [
        Arc::new(TimestampSecondArray::from(by(1_000_000_000)).with_timezone_opt(zone)),
        Arc::new(TimestampMillisecondArray::from(by(1_000_000)).with_timezone_opt(zone)),
        Arc::new(TimestampMicrosecondArray::from(by(1000)).with_timezone_opt(zone)),
        Arc::new(TimestampNanosecondArray::from(by(1)).with_timezone_opt(zone)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Event times do not depend on the unit and the zone of a column, apart from the precision of the unit. They may
    /// be before 1970.
    #[test]
    fn event_times_are_the_same_in_every_unit(
        mut ns in prop::collection::vec(any::<i64>(), 1..40),
        zone in prop::sample::select(vec![None, Some("UTC"), Some("+02:00"), Some("Europe/Vienna")]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times.parquet");
        ns.sort_unstable();
        for (column, unit) in columns(&ns, zone).into_iter().zip([1_000_000_000, 1_000_000, 1000, 1]) {
            write(&path, column);
            let expected: Vec<EventTime> =
                ns.iter().map(|ns| EventTime((ns.div_euclid(unit) * unit.min(1_000_000)).div_euclid(1_000_000)
                    * if unit == 1_000_000_000 { 1000 } else { 1 })).collect();
            prop_assert_eq!(all::<EventTime>(&path), expected.clone());
            prop_assert_eq!(all::<Option<EventTime>>(&path), expected.into_iter().map(Some).collect::<Vec<_>>());
        }
    }
}

/// Noon of 31 January 2025, plus 1 ms, 1 µs and 1 ns.
const NS: i64 = 1_738_324_800_001_001_001;
const MS: i64 = NS / 1_000_000;

#[test]
fn numbers_take_milliseconds_and_no_other_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.parquet");
    for zone in [None, Some("UTC"), Some("Europe/Vienna")] {
        for (column, unit) in columns(&[NS], zone).into_iter().zip(["s", "ms", "µs", "ns"]) {
            write(&path, column);
            if unit == "ms" {
                assert_eq!(all::<i64>(&path), [MS]);
            } else {
                refused::<i64>(&path, &format!("a timestamp in {unit}"));
                refused::<Option<u64>>(&path, "a number does not say its unit");
            }
        }
    }
    write(&path, Arc::new(Date32Array::from(vec![20_119])));
    refused::<i32>(&path, "a date, and a number does not say its unit");
    write(&path, Arc::new(Int64Array::from(vec![MS])));
    assert_eq!((all::<i64>(&path), all::<EventTime>(&path)), (vec![MS], vec![EventTime(MS)]));
}

#[test]
fn date_times_of_libraries_take_their_text_or_are_refused() {
    use jiff::civil::{Date, DateTime, Time};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.parquet");
    for (column, unit) in columns(&[NS], Some("Europe/Vienna")).into_iter().zip([1_000_000_000, 1_000_000, 1000, 1]) {
        write(&path, column);
        let expected = jiff::Timestamp::from_nanosecond(i128::from(NS / unit * unit)).unwrap();
        assert_eq!(all::<jiff::Timestamp>(&path), [expected], "an instant");
        assert!(all::<String>(&path)[0].ends_with('Z'));
    }
    for column in columns(&[NS], None) {
        write(&path, column);
        assert_eq!(all::<DateTime>(&path)[0].date(), Date::constant(2025, 1, 31));
        refused::<jiff::Timestamp>(
            &path,
            "without a zone, given as \"1970-01-01T00:00:00\", which its field does not take",
        );
    }
    write(&path, Arc::new(Date32Array::from(vec![20_119, 0, -1])));
    assert_eq!(all::<Date>(&path), ["1969-12-31", "1970-01-01", "2025-01-31"].map(|date| date.parse().unwrap()));
    let days = [-1, 0, 20_119].map(|day| EventTime(day * 86_400_000));
    assert_eq!(all::<EventTime>(&path), days);
    refused::<jiff::Timestamp>(&path, "is a date, given as \"1970-01-01\"");
    write(&path, Arc::new(Time64MicrosecondArray::from(vec![43_200_000_000])));
    assert_eq!(all::<Time>(&path), [Time::constant(12, 0, 0, 0)]);
    refused::<EventTime>(&path, "a time of day, which is not an event time");
    refused::<i64>(&path, "is a time of day");
}

#[test]
fn times_within_other_columns_are_converted_too() {
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct Inner<T> {
        t: T,
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.parquet");
    let [_, ms, us, _] = columns(&[NS, NS + 5_000_000], None);
    for (column, is_ms) in [(ms, true), (us, false)] {
        let field = Arc::new(Field::new("t", column.data_type().clone(), true));
        write(&path, Arc::new(StructArray::from(vec![(field, column)])));
        assert_eq!(all::<Inner<EventTime>>(&path), [MS, MS + 5].map(|ms| Inner { t: EventTime(ms) }));
        if is_ms {
            assert_eq!(all::<Inner<i64>>(&path), [MS, MS + 5].map(|t| Inner { t }));
        } else {
            let error = read::<Inner<i64>>(&path).map(|_| ()).unwrap_err();
            assert!(error.contains("\"at.t\" is a timestamp in µs"), "{error}");
        }
    }
}

/// Spark and Impala wrote such times for years: they consist of the nanosecond of the day and the Julian day.
#[test]
fn times_of_96_bits_reach_beyond_what_nanoseconds_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.parquet");
    let schema = Arc::new(parse_message_type("message old { REQUIRED INT96 at; }").unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // The times are 1.5 µs after noon, on 1 January of the years 1, 1970 and 9999.
    let days = [-719_162_i64, 0, 2_932_532];
    let value = |day: &i64| {
        let mut value = Int96::new();
        let ns = 43_200_000_001_500_u64;
        value.set_data(ns as u32, (ns >> 32) as u32, (day + 2_440_588) as u32);
        value
    };
    column.typed::<Int96Type>().write_batch(&days.iter().map(value).collect::<Vec<_>>(), None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    assert_eq!(all::<EventTime>(&path), days.map(|day| EventTime(day * 86_400_000 + 43_200_000)));
    refused::<i64>(&path, "a timestamp in µs");
    let text = ["0001", "1970", "9999"].map(|year| format!("{year}-01-01T12:00:00.000001"));
    assert_eq!(all::<String>(&path), text);
}

fn vienna<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
    EventTime::deserialize_in("Europe/Vienna", deserializer)
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Local(#[serde(deserialize_with = "vienna")] EventTime);

#[test]
fn text_is_a_time_with_an_offset_or_in_a_zone_and_otherwise_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let noon = EventTime(1_738_324_800_000);
    let lines = [
        "1738324800000",
        "2025-01-31T12:00:00Z",
        "2025-01-31 13:00:00+01:00",
        "2025-01-31T13:00:00",
        "2025-10-26T02:30:00",
    ];
    let quoted = |line: &str| if line.starts_with("17") { line.to_owned() } else { format!("\"{line}\"") };
    let json = lines.map(|line| format!("{{\"at\":{}}}\n", quoted(line))).concat();
    for (name, text) in [("times.csv", format!("at\n{}\n", lines.join("\n"))), ("times.jsonl", json)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let (found, reasons) = read::<EventTime>(&path).unwrap();
        assert_eq!((found, reasons.len()), (vec![noon; 3], 2), "{name}: {reasons:?}");
        assert!(reasons.iter().all(|reason| reason.contains("it has no time zone")), "{name}: {reasons:?}");
        let (found, reasons) = read::<Local>(&path).unwrap();
        assert_eq!((found, reasons.len()), (vec![Local(noon); 4], 1), "{name}: {reasons:?}");
        assert!(reasons[0].contains("clocks are set back and show it twice"), "{name}: {reasons:?}");
    }
}
