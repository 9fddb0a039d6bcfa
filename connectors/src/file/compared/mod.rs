//! Lines are read in the same way with and without the parsers of plain text: the same records to the last bit, the
//! same dead letters with the same reasons. More cases: `PROPTEST_CASES=1000000 cargo test … compared`.

mod csv;
mod json;
mod reported;
mod types;

use std::fmt::Debug;
use std::ops::Range;

use proptest::prelude::*;

/// What a parser found. Records are compared as text, which shows the sign of a zero and all digits of a float.
type Found = Vec<(Range<usize>, Result<String, String>)>;

fn shown<T: Debug>(record: Result<T, String>) -> Result<String, String> {
    record.map(|record| format!("{record:?}"))
}

fn config(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() };
    ProptestConfig { cases: config.cases.max(cases), ..config }
}

/// A change of some bytes: where, how many are removed, and what is put there.
type Damage = (prop::sample::Index, usize, Vec<u8>);

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let piece = prop::sample::select(vec![
        &b"\""[..],
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\\",
        b"\0",
        b"\x0c",
        b"\t",
        b" ",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"-",
        b"+",
        b".",
        b"0",
        b"9",
        b"e",
        b"E5",
        b"\\u0041",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"\\n",
        b"\\x",
        b"NaN",
        b"null",
        b"true",
        b"1e400",
        b"-0",
        b"18446744073709551616",
        b"0.30000000000000004",
        b"\xff",
        b"\xc3",
        b"\xc3\xa4",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"//",
        b"0x1f",
        b"\"\"",
        b"\"a\"",
        b"\x7f",
        b"\xe2\x80\xa8",
    ]);
    let piece = piece.prop_map(<[u8]>::to_vec);
    prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, piece), 0..4)
}

fn damaged(text: &str, damage: &[Damage]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, removed, put) in damage {
        let at = at.index(bytes.len() + 1);
        let end = (at + removed).min(bytes.len());
        bytes.splice(at..end, put.iter().copied());
    }
    bytes
}
