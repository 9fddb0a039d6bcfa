//! What cannot work is refused before the first record, with both sides in the message.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testkit::postgres::Postgres;
use tidemill::job::JobSettings;
use tidemill::postgres::LostMarker;
use tidemill::prelude::*;

use crate::faults::{Numbered, numbered, settings};
use crate::server::{alone, database, execute, numbers, server};

pub const COUNT: u64 = 20;

pub fn run(sink: PostgresSink<Numbered>, settings: JobSettings) -> Result<(), JobError> {
    let source = Generator::new(COUNT, numbered);
    Job::new("refused", settings).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).map(drop)
}

fn refused(server: &Postgres, sink: impl FnOnce(tidemill::postgres::Database) -> PostgresSink<Numbered>) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let sink = sink(database(server)).patience(Duration::from_secs(5));
    run(sink, settings(scratch.path())).unwrap_err().report()
}

pub fn contains(error: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_both_sides() {
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(
        &server,
        "create table no_name (id bigint);
         create table other_type (id text, name text);
         create table more (id bigint, name text, at timestamptz not null, d date default now() not null);
         create table no_key (id bigint, name text);
         create unique index part on no_key (id) where id > 5;
         create table no_right (id bigint, name text);
         create table strange (id int4range, name text);
         create view a_view as select * from no_key;
         create role guest login; grant insert on no_right to guest",
    );
    let append = |table: &str| refused(&server, |database| PostgresSink::append(database, table));
    contains(&append("nowhere"), &["there is no table \"nowhere\""]);
    contains(
        &append("no_name"),
        &["field \"name\" has no column", "record has: id integer, name text", "table has: id int8"],
    );
    contains(&append("other_type"), &["column \"id\" is of type text, and the field of type integer"]);
    let error = append("more");
    contains(&error, &["column \"at\" must not be null, and no field has its name"]);
    assert!(!error.contains("\"d\" must"), "{error}");
    contains(&append("strange"), &["column \"id\" is of type int4range, which is not supported"]);
    contains(&append("a_view"), &["\"a_view\" is no table but a view"]);
    let upsert = |table: &str, key: &str| refused(&server, |database| PostgresSink::upsert(database, table, [key]));
    contains(&upsert("no_key", "id"), &["has no primary key and no unique index of exactly the columns id"]);
    contains(&upsert("no_key", "age"), &["the key \"age\" is not among the columns"]);
    let error = refused(&server, |database| PostgresSink::upsert(database.user("guest"), "no_right", ["id"]));
    contains(&error, &["the user may not write to table \"no_right\"", "INSERT, UPDATE and SELECT on it"]);
    let error = refused(&server, |database| PostgresSink::append(database.user("nobody"), "no_key"));
    contains(&error, &["role \"nobody\" does not exist", "SQLSTATE 28000"]);
    let no_checkpoints = JobSettings { checkpoint_dir: None, ..settings(Path::new("")) };
    let error = run(PostgresSink::append(database(&server), "no_key"), no_checkpoints).unwrap_err().report();
    contains(&error, &["exactly once only with checkpoint_dir"]);
}

#[test]
fn a_value_that_its_column_cannot_take_stops_the_job_before_the_commit() {
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(&server, "create table narrow (id smallint, name varchar(10))");
    let scratch = tempfile::tempdir().unwrap();
    let sink = PostgresSink::append(database(&server), "narrow");
    let error = run(sink, settings(scratch.path())).unwrap_err().report();
    contains(&error, &["cannot be a row of table \"narrow\"", "column \"name\"", "11 characters", "Numbered { id:"]);
    assert_eq!(numbers(&server, "select count(*) from narrow"), [0]);
}

/// Published rows are not taken back, and are not written twice.
#[test]
fn a_marker_that_is_ahead_or_gone_is_refused_with_both_sides() {
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(&server, "create table numbers (id bigint, name text)");
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sink = || PostgresSink::append(database(&server), "numbers");
    run(sink(), settings(first.path())).unwrap();
    let error = run(sink(), settings(second.path())).unwrap_err().report();
    contains(&error, &["has output of worker 0 up to epoch", "by \"numbers.out\"", "this run starts anew"]);
    assert_eq!(numbers(&server, "select count(*) from numbers"), [COUNT as i64]);
    // Under another name they are there twice, as the message says.
    run(sink().marker("again"), settings(second.path())).unwrap();
    assert_eq!(numbers(&server, "select count(*) from numbers"), [2 * COUNT as i64]);

    execute(&server, "delete from tidemill_marker");
    let error = run(sink(), settings(first.path())).unwrap_err().report();
    contains(&error, &["the marker \"numbers.out\" of worker", "is gone", "set lost_marker"]);
    run(sink().lost_marker(LostMarker::Skip), settings(first.path())).unwrap();
    assert_eq!(numbers(&server, "select count(*) from numbers"), [2 * COUNT as i64]);
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: uuid_text::Id,
    flag: Option<bool>,
    small: i16,
    amount: String,
    ratio: f64,
    single: f32,
    at: EventTime,
    day: String,
    text: String,
    raw: Vec<u8>,
    tags: Vec<String>,
}

/// A type of one's own for a column.
mod uuid_text {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct Id(pub String);
}

/// What was written is what the server has, for each type of column.
#[test]
fn values_of_all_types_are_there_as_they_were() {
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(
        &server,
        "create table kinds (id uuid primary key, flag bool, small smallint, amount numeric(8,2), ratio float8, single float4,
           at timestamptz, day date, text text, raw bytea, tags jsonb, n bigserial)",
    );
    let scratch = tempfile::tempdir().unwrap();
    let row = |n: u64| Row {
        id: uuid_text::Id("0f8fad5b-d9cb-469f-a165-70867728950e".to_owned()),
        flag: (n > 0).then_some(true),
        small: -7,
        amount: "-1234.50".to_owned(),
        ratio: f64::NAN,
        single: 0.1,
        at: EventTime(1_767_322_800_123),
        day: "2024-02-29".to_owned(),
        text: "tab\t, line\nend, back\\slash, \\N, \u{1f980}".to_owned(),
        raw: vec![0, 92, 255],
        tags: vec!["a\"b\\".to_owned(), "\t".to_owned()],
    };
    let source = Generator::new(2, move |n| (EventTime(n as i64), row(n)));
    let sink = PostgresSink::upsert(database(&server), "kinds", ["id"]);
    let one = JobSettings { workers: 1, ..settings(scratch.path()) };
    Job::new("kinds", one).run(move |flow| flow.source("rows", &source)?.sink("out", &sink)).unwrap();
    let as_it_was = "flag and small = -7 and amount = -1234.5 and ratio = 'NaN' and single = 0.1::float4 \
        and at = '2026-01-02 03:00:00.123+00' and day = '2024-02-29' \
        and text = E'tab\\t, line\\nend, back\\\\slash, \\\\N, \u{1f980}' and raw = '\\x005cff' \
        and tags = '[\"a\\\"b\\\\\", \"\\t\"]'";
    assert_eq!(numbers(&server, &format!("select count(*) from kinds where {as_it_was}")), [1]);
    assert_eq!(numbers(&server, "select count(*) from kinds"), [1], "the last row of the key");
}
