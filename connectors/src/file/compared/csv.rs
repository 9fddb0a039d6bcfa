//! CSV, against the `csv` crate's deserialiser.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::types::for_each_type;
use super::{Found, config, damage, damaged, shown};
use crate::file::csv::CsvParser;
use crate::file::piece::Piece;

fn lines<T: DeserializeOwned + Debug>(mut parser: CsvParser, bytes: &[u8], joins: bool) -> Found {
    let mut found = Vec::new();
    let piece = Piece { bytes, own: 0..bytes.len(), record: 100, joins };
    parser.parse::<T>(&piece, |range, record| found.push((range, shown(record))));
    found
}

macro_rules! compare {
    ($type:ty, $header:expr, $bytes:expr) => {
        let (header, bytes): (&str, &[u8]) = ($header, $bytes);
        let parser = || CsvParser::new::<$type>(header.as_bytes());
        if let (Ok(plain), Ok(other)) = (parser(), parser()) {
            let other = other.never_plain();
            let (plain_followed, other_followed) = (parser().unwrap(), parser().unwrap().never_plain());
            prop_assert_eq!(
                lines::<$type>(plain, bytes, true),
                lines::<$type>(other, bytes, true),
                "{} in {:?} under {}",
                stringify!($type),
                String::from_utf8_lossy(bytes),
                header
            );
            prop_assert_eq!(
                lines::<$type>(plain_followed, bytes, false),
                lines::<$type>(other_followed, bytes, false),
                "{} in {:?} under {}, followed",
                stringify!($type),
                String::from_utf8_lossy(bytes),
                header
            );
        }
    };
}

fn field() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        4 => (-300..300_i64).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        2 => any::<f64>().prop_map(|n| n.to_string()),
        2 => any::<f32>().prop_map(|n| format!("{n:?}")),
        2 => "[-+]?[0-9]{0,21}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?",
        2 => "[a-d]?",
        1 => "[äß€ a-c]{0,12}",
        2 => prop::sample::select(vec!["true", "false", "inf", "NaN", "-infinity", "0x1f", "0xfg", "+1", "-0", "a", "c", "null", ""])
            .prop_map(str::to_owned),
    ];
    let quoting = prop::sample::select(vec!["", "", "", "", " ", "\t", "\"", "\"\""]);
    (text, quoting).prop_map(|(text, quote)| format!("{quote}{text}{quote}"))
}

const HEADERS: [&str; 7] = ["a,b,c,d", "d,c,b,a", "a,x,b,y,c,d,z", "b,d,a", "a", "a,b", "x,a,b"];

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn records_are_those_of_the_csv_crate(
        header in prop::sample::select(HEADERS.to_vec()),
        fields in prop::collection::vec(field(), 1..24),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        has_end: bool,
        damage in damage(),
    ) {
        let width = header.split(',').count();
        let mut text = fields.chunks(width).map(|fields| fields.join(",")).collect::<Vec<_>>().join(end);
        if has_end {
            text += end;
        }
        for_each_type!(compare!(header, text.as_bytes()));
        for_each_type!(compare!(header, &damaged(&text, &damage)));
    }

    /// Quotes at all places, also open ones: followed files must not take the rest of a record for one.
    #[test]
    fn quotes_are_those_of_the_csv_crate(
        header in prop::sample::select(HEADERS.to_vec()),
        text in "([a,1]{0,3}(\n|\r\n|\r|,|,\"|\",|\"\n|\"\"|\"\",|,\"\"|1,\"2\"\n|\n1,\"\"\n){1,2}){0,12}",
    ) {
        for_each_type!(compare!(header, text.as_bytes()));
    }

    /// Lines of numbers, most of which are plain.
    #[test]
    fn numbers_are_those_of_the_csv_crate(
        header in prop::sample::select(HEADERS.to_vec()),
        rows in prop::collection::vec(prop::collection::vec("-?[0-9]{1,3}(\\.[0-9]{1,17})?|[0-9]{8,19}", 7), 1..4),
        damage in damage(),
    ) {
        let width = header.split(',').count();
        let text = rows.iter().map(|row| row[..width].join(",") + "\n").collect::<String>();
        for_each_type!(compare!(header, &damaged(&text, &damage)));
    }
}

/// Ordinary lines are not left to the `csv` crate.
#[test]
fn ordinary_lines_are_plain() {
    use csv::ByteRecord;

    use super::types::{Gaps, Numbers, Texts};
    use crate::plain::csv::{Columns, Layout, line};

    fn is_plain<T: DeserializeOwned>(columns: &Columns, names: &[&str], text: &str) -> bool {
        let names = ByteRecord::from(names.to_vec());
        let layout = Layout { columns, width: names.len(), names: &names, has_quotes: true };
        line::<T>(&layout, text, 0, &mut Vec::new()).is_ok_and(|(_, next)| next == text.len())
    }

    let names = ["a", "b", "c", "d"];
    for end in ["", "\n", "\r\n", "\r"] {
        for fields in ["1,2.5,3,0.1", "-1 , 2e-7,  003,\"4\"", "\"1\",\"2\",\"3\",\"4\""] {
            assert!(is_plain::<Numbers>(&Columns::All, &names, &format!("{fields}{end}")), "{fields:?}{end:?}");
            assert!(is_plain::<Numbers>(&Columns::ByName, &names, &format!("{fields}{end}")), "{fields:?}{end:?}");
        }
        let texts = format!("\u{e4}, , x ,true{end}");
        assert!(is_plain::<Texts>(&Columns::All, &names, &texts));
        assert!(is_plain::<Gaps>(&Columns::InOrder(vec![1, 1]), &names, &format!("x,1.5,\"a,b\",{end}")));
        assert!(is_plain::<Gaps>(&Columns::Anywhere(vec![3, 1]), &names, &format!("x,\"1\",\"a,b\",2{end}")));
    }
    assert_eq!(Columns::of(&[1, 3]), Columns::InOrder(vec![1, 1]));
    assert_eq!(Columns::of(&[3, 1]), Columns::Anywhere(vec![3, 1]));
}
