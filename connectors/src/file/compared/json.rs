//! JSON lines, against `serde_json`.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::types::{Nested, for_each_type};
use super::{Found, config, damage, damaged, shown};
use crate::file::json::JsonParser;
use crate::file::piece::Piece;
use crate::json::Json;

fn lines<T: DeserializeOwned + Debug>(mut parser: JsonParser, bytes: &[u8]) -> Found {
    let mut found = Vec::new();
    let piece = Piece { bytes, own: 0..bytes.len(), record: 100, joins: false };
    parser.parse::<T>(&piece, |range, record| found.push((range, shown(record))));
    found
}

fn value<T: DeserializeOwned + Debug>(bytes: &[u8]) -> [Result<String, String>; 2] {
    let by_serde = serde_json::from_slice::<T>(bytes);
    [Json::default().value::<T>(bytes), by_serde].map(|value| shown(value.map_err(|e| e.to_string())))
}

macro_rules! compare {
    ($type:ty, $bytes:expr) => {
        let bytes: &[u8] = $bytes;
        prop_assert_eq!(
            lines::<$type>(JsonParser::default(), bytes),
            lines::<$type>(JsonParser::never_plain(), bytes),
            "{} in {:?}",
            stringify!($type),
            String::from_utf8_lossy(bytes)
        );
        let [found, expected] = value::<$type>(bytes);
        prop_assert_eq!(found, expected, "{} is {:?}", stringify!($type), String::from_utf8_lossy(bytes));
    };
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (-300..300_i64).prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n}")),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[a-d]{1,2}",
        2 => "[ -!#-\\[\\]-~]{0,20}",
        1 => "[äß€😀\u{7f}]{1,3}",
        1 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\u00e4", "\\u0000", "\\ud83d\\ude00", "\\uD83D", "\\uDE00"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..3).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\t", "  "])
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(vec!["\"a\"", "\"b\"", "\"c\"", "\"d\""]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["\"B\"", "\"1\"", "\"pair\"", "\"\\u0061\"", "\"2.5\"", "\"true\""]).prop_map(str::to_owned),
        1 => text(),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["null", "true", "false", "[]", "{}"]).prop_map(str::to_owned);
    let leaf = prop_oneof![5 => number(), 4 => text(), 1 => word];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let entry = (key(), blank(), inner.clone(), blank());
        let entry =
            entry.prop_map(|(key, before, value, after)| format!("{before}{key}{after}:{before}{value}{after}"));
        prop_oneof![
            4 => prop::collection::vec(entry, 0..5).prop_map(|entries| format!("{{{}}}", entries.join(","))),
            1 => (prop::collection::vec(inner, 0..5), blank()).prop_map(|(items, blank)| {
                format!("[{blank}{}]", items.join(&format!("{blank},")))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn json_is_what_serde_json_reads(text in json()) {
        for_each_type!(compare!(text.as_bytes()));
        compare!(Nested, text.as_bytes());
    }

    #[test]
    fn damaged_json_is_what_serde_json_reads(lines in prop::collection::vec(json(), 1..4), damage in damage()) {
        let bytes = damaged(&lines.join("\n"), &damage);
        for_each_type!(compare!(&bytes));
        compare!(Nested, &bytes);
    }

    #[test]
    fn objects_as_types_want_them_are_what_serde_json_reads(
        a in number(), b in number(), c in 0..300_u32, d in number(), text in text(), damage in damage(),
    ) {
        for line in [
            format!("{{\"a\":{a},\"b\":{b},\"c\":{c},\"d\":{d}}}"),
            format!("{{\"a\": {text}, \"b\": null, \"c\": \"x\", \"d\": true}}\n{{\"a\":[{a},{b}]}}"),
        ] {
            for_each_type!(compare!(&damaged(&line, &damage)));
        }
    }
}

/// Ordinary lines are not left to `serde_json`.
#[test]
fn ordinary_lines_are_plain() {
    let mut scratch = String::new();
    for line in [
        r#"{"a":1,"b":2.5,"c":3,"d":0.1}"#,
        r#" { "a" : -1 , "b" : 1e-7 , "c" : 0 , "d" : -0.0 , "other": {"x": [1, "\u00e4", null]} } "#,
        r#"{"d":1,"c":2,"b":0.12345678901234567,"a":-9223372036854775808}"#,
    ] {
        for end in ["", "\n", "\r\n", "\r"] {
            let text = format!("{line}{end}");
            let taken = crate::plain::json::line::<super::types::Numbers>(&text, 0, &mut scratch);
            assert_eq!(taken.map(|(_, next)| next), Ok(text.len()), "{text:?}");
        }
    }
    let lines = "{\"a\": \"\u{e4}\\ud83d\\ude00\",\n \"b\": null, \"c\": \"x\"}\n";
    assert!(crate::plain::json::whole::<super::types::Texts>(lines, &mut scratch).is_ok());
    assert!(crate::plain::json::line::<super::types::Texts>(lines, 0, &mut scratch).is_err(), "two lines");
}
