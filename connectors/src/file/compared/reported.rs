//! Text that parsers of other projects have read wrongly, by their public reports. Each is read rightly here, or refused
//! where it is not JSON.

use std::fmt::Debug;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::file::csv::CsvParser;
use crate::file::piece::Piece;
use crate::json::Json;

fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    Json::default().value(text.as_bytes()).ok()
}

fn csv<T: DeserializeOwned + Debug>(header: &str, lines: &str) -> Vec<Option<T>> {
    let mut records = Vec::new();
    let piece = Piece { bytes: lines.as_bytes(), own: 0..lines.len(), record: 1000, joins: true };
    let mut parser = CsvParser::new::<T>(header.as_bytes()).unwrap();
    parser.parse::<T>(&piece, |_, record| records.push(record.ok()));
    records
}

#[derive(Debug, PartialEq, Deserialize)]
struct Level {
    price: f64,
    amount: f64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Book {
    asks: Vec<Level>,
}

/// simd-lite/simd-json#455: a number across a border of 64 bytes became 1082.09.
#[test]
fn a_number_across_a_border_is_whole() {
    for before in 0..130 {
        let text =
            format!("{}{{\"asks\":[{{\"price\":3077999.0000000000000000,\"amount\":0.5}}]}}", " ".repeat(before));
        assert_eq!(json(&text), Some(Book { asks: vec![Level { price: 3_077_999.0, amount: 0.5 }] }), "{before}");
    }
}

/// simd-lite/simd-json#251, pola-rs/polars#5021: 0.6 became 0.6000000000000001. simdjson/simdjson#2099: the third became 0.
/// serde-rs/json#1303 (without `float_roundtrip`): the fourth became 1. simdjson/simdjson#179: the fifth was one bit off.
#[test]
fn floats_are_rounded_once() {
    for text in ["0.6", "-12345678901234.56789012", "1000000000.000000001", "0.9999999999999999", "7e23"] {
        let right: f64 = text.parse().unwrap();
        assert_eq!(json::<f64>(text), Some(right));
        let record = Level { price: right, amount: right };
        assert_eq!(csv("price,amount", &format!("{text},{text}\n")), [Some(record)]);
    }
}

/// NVIDIA/cudf#987: -9e-06 became -142706. NVIDIA/cudf#329, vincentlaucsb/csv-parser#230: small negative numbers lost their
/// sign. JuliaData/CSV.jl#714: -1670. became 2^64. apache/arrow#49003: 10E-617 was no number.
#[test]
fn negative_numbers_and_exponents_of_csv_are_read() {
    let lines = "-9e-06,8.1e-05\n-82.020,-0.5\n-1670.,-0.0\n10E-617,2.9e-05\n";
    let levels = [(-9e-6, 8.1e-5), (-82.02, -0.5), (-1670.0, -0.0), (0.0, 2.9e-5)];
    let levels = levels.map(|(price, amount)| Some(Level { price, amount }));
    let read = csv::<Level>("price,amount", lines);
    assert_eq!(format!("{read:?}"), format!("{levels:?}"), "as text, which has the sign of a zero");
}

/// simd-lite/simd-json#357, simdjson/simdjson#193, fwessels/simdjson-go#24: NUL after or in a number was not seen.
/// cesanta/mjson#56: leading zeros and control characters were taken. SBJson/SBJson#66: `[]]` was.
#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "[-2374611873366417043\0]",
        "{\"\":[],\"\":[5\0]}",
        "1\u{0}1",
        "00",
        "{\"a\":00000000}",
        "\"\u{1}\"",
        "\"line\nbreak\"",
        "[]]",
        "[1,]",
        "\u{feff}1",
        "NaN",
        "-Infinity",
        "1e400",
        "+1",
        ".5",
        "5.",
    ] {
        assert_eq!(json::<serde_json::Value>(text), None, "{text:?}");
    }
}

/// bytedance/sonic#111, cloudwego/sonic-rs#220, nlohmann/json#146, davisp/jiffy#173, sirthias/borer#12.
#[test]
fn surrogates_are_pairs() {
    let read = |text: &str| json::<String>(&format!("\"{text}\""));
    assert_eq!(read("a\\uD83D\\uDE04b").as_deref(), Some("a\u{1f604}b"));
    assert_eq!(read("\\uDBFF\\uDFFF").as_deref(), Some("\u{10ffff}"));
    for lone in ["\\uDA51\\uD83D\\uDE04", "\\uD800abc", "\\uD800\\x", "\\uDD1E\\uD834", "\\uD800\\u0041", "\\u+041"] {
        assert_eq!(read(lone), None, "{lone}");
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Sparse {
    id: u32,
    amount: Option<f64>,
}

/// pola-rs/polars#5906: where all fields are quoted, an empty one was not missing. pola-rs/polars#21519: rows after a quote
/// in a column that is not read were lost. duckdb/duckdb#21000: a first quote late in a file was not seen as one.
#[test]
fn quotes_do_not_hide_values() {
    let of = |id, amount| Some(Sparse { id, amount });
    assert_eq!(
        csv("\"id\",\"amount\"", "\"0\",\"12.5\"\n\"1\",\"\"\n2,\n"),
        [of(0, Some(12.5)), of(1, None), of(2, None)]
    );
    assert_eq!(csv("id,note,amount", "1,abc\",2\n3,random,4\n"), [of(1, Some(2.0)), of(3, Some(4.0))]);
    let mut lines = "1,plain,2\n".repeat(3000);
    lines += "3,\"Beth, Bens. Co.\",4\n";
    assert_eq!(csv::<Sparse>("id,note,amount", &lines).last(), Some(&of(3, Some(4.0))));
}
