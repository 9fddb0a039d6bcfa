use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json::decode;
use super::layout::Type;
use crate::codec;
use crate::evolve::shape::Shape;

#[derive(Clone, Serialize, Deserialize)]
enum Kind {
    Plain,
    One(u8),
    Two(u8, Option<String>),
    Same(u8, u8, u8, u8, u8),
    Named {
        inner: Box<Plain>,
        more: bool,
    },
    #[serde(rename = "with: {a} space")]
    Odd(Vec<i64>),
}

#[derive(Clone, Serialize, Deserialize)]
struct Plain {
    tiny: i8,
    big: u64,
    float: f32,
    double: f64,
    char: char,
    unit: (),
}

#[derive(Clone, Serialize, Deserialize)]
struct All {
    kinds: Vec<Kind>,
    plain: Plain,
    names: BTreeMap<String, (u16, i32)>,
    array: [u8; 16],
    nothing: Option<u8>,
}

/// What is read by the shape alone is what the type itself would be as JSON.
#[test]
fn a_value_is_read_by_its_shape_as_by_its_type() {
    let plain = Plain { tiny: -3, big: u64::MAX, float: 0.1, double: -1e300, char: 'ß', unit: () };
    let kinds = vec![
        Kind::Plain,
        Kind::One(7),
        Kind::Two(1, Some("two".to_owned())),
        Kind::Same(1, 2, 3, 4, 5),
        Kind::Named { inner: Box::new(plain.clone()), more: true },
        Kind::Odd(vec![i64::MIN, 300]),
    ];
    let names = BTreeMap::from([("a".to_owned(), (1, -70_000)), ("b".to_owned(), (300, 5))]);
    let all = All { kinds, plain, names, array: [9; 16], nothing: None };
    let mut bytes = Vec::new();
    codec::encode(&all, &mut bytes).unwrap();
    let shape = Type::of(&Shape::of::<All>().to_string());
    let mut expected = serde_json::to_value(&all).unwrap();
    // A unit has no bytes and no parts; a float of 32 bits keeps its own digits.
    for plain in ["/plain", "/kinds/4/Named/inner"] {
        *expected.pointer_mut(&format!("{plain}/unit")).unwrap() = json!([]);
        *expected.pointer_mut(&format!("{plain}/float")).unwrap() = json!(0.1);
    }
    assert_eq!(decode(&shape, &bytes).unwrap(), expected);
    for cut in 0..bytes.len() {
        assert!(decode(&shape, &bytes[..cut]).is_err(), "{cut}");
    }
    bytes.push(0);
    assert!(decode(&shape, &bytes).is_err());
}

#[test]
fn what_json_does_not_have_is_text_and_what_is_not_known_is_an_error() {
    let read =
        |shape: &str, bytes: &[u8]| -> Result<Value, String> { decode(&Type::of(shape), bytes).map_err(|e| e.0) };
    let mut bytes = Vec::new();
    codec::encode(&(f64::NAN, u128::MAX, BTreeMap::from([(1_u8, 2_u8)])), &mut bytes).unwrap();
    let expected = json!(["NaN", u128::MAX.to_string(), [[1, 2]]]);
    assert_eq!(read("(f64, u128, map(u8, u8))", &bytes).unwrap(), expected);
    assert!(read("?", &[1]).unwrap_err().contains("not known"));
    assert!(read("{a: u8", &[1]).is_err() && read("u9", &[1]).is_err() && read("", &[]).is_err());
    assert!(read("<A | B>", &[2]).unwrap_err().contains("variant 2"));
}
