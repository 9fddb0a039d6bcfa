//! The JSON of requests to model servers and of their answers.
//!
//! Values that JSON does not have are accepted in the forms in which servers write them: NaN and infinities as
//! Python's `json` and RapidJSON write them (`NaN`, `-Infinity`), as C does (`-nan`, `inf`), as texts (`"NaN"`), as
//! `null`, and as nothing (`[1.5,,2]`). An answer with such a value comes from a healthy server and is read
//! completely: only the record with the value has no score.

use std::io::Write;

use half::{bf16, f16};
use serde_json::Value;

use super::call::CallError;
use crate::infer::{ElementType, Elements, Tensor, TensorSpec};

/// Parses an answer. Numbers that JSON does not have become texts.
pub(super) fn parse(text: &[u8]) -> Result<Value, CallError> {
    serde_json::from_slice(text).or_else(|error| {
        serde_json::from_slice(&quoted(text)).map_err(|_| CallError::Failed(format!("the answer is not JSON: {error}")))
    })
}

/// Returns whether a word is a number that JSON does not have: `NaN`, `-Infinity`, `inf`, `1e999`.
fn is_no_json(word: &str) -> bool {
    word.parse::<f64>().is_ok_and(|number| !number.is_finite())
}

/// Returns the JSON with each such number as a text, and with null where a value is missing: by default, RapidJSON
/// writes a NaN as nothing between two commas.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(text.len() + 64);
    let (mut rest, mut before) = (text, b' ');
    while let Some(first) = rest.first() {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let len = match first {
            b'"' => text_len(rest),
            first if is_part(first) => rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len()),
            _ => 1,
        };
        let (word, more) = rest.split_at(len);
        if matches!((before, first), (b'[' | b',' | b':', b',') | (b',', b']') | (b':', b'}')) {
            to.extend_from_slice(b"null");
        }
        if std::str::from_utf8(word).is_ok_and(is_no_json) {
            to.push(b'"');
            to.extend_from_slice(word);
            to.push(b'"');
        } else {
            to.extend_from_slice(word);
        }
        if !first.is_ascii_whitespace() {
            before = *first;
        }
        rest = more;
    }
    to
}

/// Returns the number of bytes of a text that begins with a quote, including both quotes.
fn text_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Writes elements as a flat list of JSON.
pub(super) fn write_flat(to: &mut Vec<u8>, elements: &Elements) -> Result<(), CallError> {
    if elements.not_finite(0..elements.len()).is_some() {
        // The batch is bisected, so that only the record with this value fails.
        return Err(CallError::Refused("a NaN or an infinity cannot be sent as JSON; gRPC can".to_owned()));
    }
    let written = match elements {
        Elements::F32(values) => serde_json::to_writer(to, values),
        Elements::F64(values) => serde_json::to_writer(to, values),
        Elements::F16(values) => {
            serde_json::to_writer(to, &values.iter().map(|half| half.to_f32()).collect::<Vec<_>>())
        }
        Elements::BF16(values) => {
            serde_json::to_writer(to, &values.iter().map(|half| half.to_f32()).collect::<Vec<_>>())
        }
        Elements::I64(values) => serde_json::to_writer(to, values),
        Elements::I32(values) => serde_json::to_writer(to, values),
        Elements::I16(values) => serde_json::to_writer(to, values),
        Elements::I8(values) => serde_json::to_writer(to, values),
        Elements::U64(values) => serde_json::to_writer(to, values),
        Elements::U32(values) => serde_json::to_writer(to, values),
        Elements::U16(values) => serde_json::to_writer(to, values),
        Elements::U8(values) => serde_json::to_writer(to, values),
        Elements::Bool(values) => serde_json::to_writer(to, values),
        Elements::Text(values) => serde_json::to_writer(to, values),
    };
    written.map_err(|e| CallError::Refused(format!("it cannot be written as JSON: {e}")))
}

/// Writes one row as nested lists. A row without dimensions is written as its number.
pub(super) fn write_row(to: &mut Vec<u8>, tensor: &Tensor, row: usize) -> Result<(), CallError> {
    let mut one = Tensor { shape: tensor.shape.clone(), elements: Elements::new(tensor.elements.element_type()) };
    one.push_row(tensor, row);
    let mut flat = Vec::new();
    write_flat(&mut flat, &one.elements)?;
    let values: Vec<Value> = serde_json::from_slice(&flat).map_err(|e| CallError::Refused(e.to_string()))?;
    let mut values = values.into_iter();
    let nested = nest(&mut values, &tensor.shape).ok_or_else(|| CallError::Refused("a row is short".to_owned()))?;
    write!(to, "{nested}").map_err(|e| CallError::Refused(e.to_string()))
}

fn nest(values: &mut impl Iterator<Item = Value>, shape: &[usize]) -> Option<Value> {
    match shape.split_first() {
        None => values.next(),
        Some((size, inner)) => (0..*size).map(|_| nest(values, inner)).collect::<Option<_>>().map(Value::Array),
    }
}

/// Returns the shape of rows of `spec` that arrived as nested lists. It is taken from the first row that is not null.
pub(super) fn shape_of(mut value: &Value, spec: &TensorSpec) -> Vec<i64> {
    let mut shape = Vec::new();
    while let Value::Array(values) = value {
        shape.push(values.len() as i64);
        let Some(first) = values.iter().find(|value| !value.is_null()) else { break };
        value = first;
    }
    if shape.len() == 1 && value.is_array() && spec.is_fixed() {
        // All rows are null: only the declaration says how large they would be.
        shape.extend(spec.shape.iter().flatten().map(|size| *size as i64));
    }
    shape
}

/// Reads elements from JSON, which is a flat list or nested lists. A null is read as a NaN, and in place of a list as a
/// list of NaNs. If the type has no NaN, the batch is bisected, so that only the record with the null fails.
pub(super) fn from_json(spec: &TensorSpec, value: &Value, shape: &[i64]) -> Result<Elements, CallError> {
    let len = |shape: &[i64]| shape.iter().product::<i64>();
    let is_flat = value.as_array().is_some_and(|values| values.len() as i64 == len(shape));
    let mut leaves = Vec::new();
    flatten(value, if is_flat { &[] } else { shape }, &mut leaves);
    if leaves.is_empty() && len(shape) == 1 {
        // The only element was written as nothing, which RapidJSON does by default with a NaN.
        leaves.push(&Value::Null);
    }
    if let Some(elements) = elements(spec.element, &leaves) {
        return Ok(elements);
    }
    let name = &spec.name;
    if leaves.iter().any(|leaf| leaf.is_null() || leaf.as_str().is_some_and(is_no_json)) {
        return Err(CallError::Refused(format!(
            "the answer's \"{name}\" has a null or a NaN, which no {} is",
            spec.element
        )));
    }
    Err(CallError::Failed(format!("the answer's \"{name}\" is not {spec}")))
}

/// Maximum number of nulls that one null expands to.
const MOST: i64 = 1 << 20;

fn flatten<'a>(value: &'a Value, shape: &[i64], to: &mut Vec<&'a Value>) {
    let inner = shape.get(1..).unwrap_or_default();
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, inner, to)),
        Value::Null => {
            let len = shape.iter().product::<i64>().clamp(0, MOST);
            to.extend(std::iter::repeat_n(value, usize::try_from(len).unwrap_or(0)));
        }
        leaf => to.push(leaf),
    }
}

fn elements(element: ElementType, leaves: &[&Value]) -> Option<Elements> {
    fn all<T>(leaves: &[&Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        leaves.iter().map(|leaf| read(leaf)).collect()
    }
    fn float(leaf: &Value) -> Option<f64> {
        match leaf {
            Value::Null => Some(f64::NAN),
            Value::String(text) => text.parse().ok(),
            leaf => leaf.as_f64(),
        }
    }
    fn int<T: TryFrom<i64>>(leaf: &Value) -> Option<T> {
        leaf.as_i64()?.try_into().ok()
    }
    Some(match element {
        // Servers write an f32 with enough digits to distinguish it, so reading it as an f64 first yields the same f32.
        ElementType::F32 => Elements::F32(all(leaves, |leaf| float(leaf).map(|n| n as f32))?),
        ElementType::F64 => Elements::F64(all(leaves, float)?),
        ElementType::F16 => Elements::F16(all(leaves, |leaf| float(leaf).map(f16::from_f64))?),
        ElementType::BF16 => Elements::BF16(all(leaves, |leaf| float(leaf).map(bf16::from_f64))?),
        ElementType::I64 => Elements::I64(all(leaves, int)?),
        ElementType::I32 => Elements::I32(all(leaves, int)?),
        ElementType::I16 => Elements::I16(all(leaves, int)?),
        ElementType::I8 => Elements::I8(all(leaves, int)?),
        ElementType::U64 => Elements::U64(all(leaves, Value::as_u64)?),
        ElementType::U32 => Elements::U32(all(leaves, int)?),
        ElementType::U16 => Elements::U16(all(leaves, int)?),
        ElementType::U8 => Elements::U8(all(leaves, int)?),
        ElementType::Bool => Elements::Bool(all(leaves, Value::as_bool)?),
        ElementType::Text => Elements::Text(all(leaves, |leaf| leaf.as_str().map(str::to_owned))?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn flat(element: ElementType, text: &str) -> Result<Elements, CallError> {
        let value = parse(text.as_bytes())?;
        let shape = [value.as_array().map_or(0, Vec::len) as i64];
        from_json(&TensorSpec::fixed("y", element, []), &value, &shape)
    }

    #[test]
    fn what_json_cannot_carry_is_not_sent() {
        for values in [vec![1.0, f32::NAN], vec![f32::INFINITY]] {
            let refused = write_flat(&mut Vec::new(), &Elements::F32(values));
            assert!(matches!(refused, Err(CallError::Refused(_))));
        }
    }

    #[test]
    fn numbers_that_json_does_not_have_are_read() {
        let text = r#"[NaN, -NaN, nan, null, "nan", Infinity, inf,+inf, -Infinity,-inf,1e999, -1e999, 0.1, 1e39]"#;
        let Ok(Elements::F32(found)) = flat(ElementType::F32, text) else { panic!() };
        assert!(found[..5].iter().all(|value| value.is_nan()), "{found:?}");
        let inf = f32::INFINITY;
        assert_eq!(found[5..], [inf, inf, inf, -inf, -inf, inf, -inf, 0.1, inf]);
        // Such words stay unchanged inside texts, and a word that is not a number is not valid JSON.
        let found = parse(br#"{"a\\": "NaN \" NaN", "b": [NaN], "c": "\\"}"#).unwrap();
        assert_eq!(found, json!({ "a\\": "NaN \" NaN", "b": ["NaN"], "c": "\\" }));
        let found = parse(br#"{"a": [,1 , ,"x",], "b": , "c": [[],[ ,]], "d":}"#).unwrap();
        let nothing = Value::Null;
        assert_eq!(
            found,
            json!({ "a": [nothing, 1, nothing, "x", nothing], "b": nothing, "c": [[], [null, null]], "d": null })
        );
        for text in ["[NaNa]", "[infinite, NaN]", "[NaN", "NaN]", "[\"NaN]", "\"\\"] {
            assert!(matches!(parse(text.as_bytes()), Err(CallError::Failed(_))), "{text}");
        }
    }

    #[test]
    fn a_null_fails_its_record_if_the_type_has_no_nan() {
        for (element, text) in [
            (ElementType::I64, "[1, null]"),
            (ElementType::U8, "[1, NaN]"),
            (ElementType::Bool, "[true, null]"),
            (ElementType::Text, "[\"a\", null]"),
        ] {
            let refused = flat(element, text);
            assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        }
        for (element, text) in
            [(ElementType::I64, "[1.5]"), (ElementType::U8, "[256]"), (ElementType::F32, "[\"many\"]")]
        {
            let failed = flat(element, text);
            assert!(matches!(failed, Err(CallError::Failed(_))), "{failed:?}");
        }
        // The only value was written as nothing.
        let only = from_json(&TensorSpec::fixed("y", ElementType::F32, []), &json!([]), &[1, 1]);
        assert!(matches!(only, Ok(Elements::F32(values)) if values.len() == 1 && values[0].is_nan()));
    }

    #[test]
    fn a_row_of_null_is_a_row_of_nans() {
        let spec = TensorSpec::fixed("y", ElementType::F64, [2]);
        for (text, nans, shape) in [
            ("[[1, 2], null, [3, null]]", [false, false, true, true, false, true], [3, 2]),
            ("[null, [1, 2], [3, 4]]", [true, true, false, false, false, false], [3, 2]),
            ("[null, null, null]", [true; 6], [3, 2]),
        ] {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(shape_of(&value, &spec), shape, "{text}");
            let Ok(Elements::F64(found)) = from_json(&spec, &value, &shape) else { panic!("{text}") };
            assert_eq!(found.iter().map(|value| value.is_nan()).collect::<Vec<_>>(), nans);
        }
        // A flat list has one null for each number.
        let flat = from_json(&spec, &json!([1.0, null, 3.0, 4.0]), &[2, 2]);
        assert!(matches!(flat, Ok(Elements::F64(values)) if values.len() == 4 && values[1].is_nan()));
    }

    proptest! {
        #[test]
        fn elements_survive_encoding_and_decoding(
            floats in any::<Vec<f32>>(), ints in any::<Vec<i64>>(), texts in any::<Vec<String>>(), bools in any::<Vec<bool>>(),
            halves in any::<Vec<u16>>(), large in any::<Vec<u64>>(),
        ) {
            let finite = floats.into_iter().filter(|float| float.is_finite()).collect();
            let halves = halves.into_iter().map(f16::from_bits).filter(|half| half.is_finite()).collect();
            let cases = [
                Elements::F32(finite), Elements::I64(ints), Elements::Text(texts), Elements::Bool(bools),
                Elements::F16(halves), Elements::U64(large),
            ];
            for elements in cases {
                let mut json = Vec::new();
                write_flat(&mut json, &elements).unwrap();
                let json = serde_json::from_slice(&json).unwrap();
                let spec = TensorSpec::fixed("y", elements.element_type(), []);
                prop_assert_eq!(from_json(&spec, &json, &[elements.len() as i64]).unwrap(), elements);
            }
        }

        /// Values of any kind, in every form in which servers write them, are read with the same bits, and NaNs as
        /// NaNs.
        #[test]
        fn lists_with_nans_are_read_to_the_last_bit(
            values in proptest::collection::vec((any::<f32>(), 0..3_usize), 0..40), text in ".*",
        ) {
            let written = |(value, how): &(f32, usize)| match value {
                value if value.is_nan() => ["NaN", "null", ""][*how].to_owned(),
                value if value.is_infinite() && *value > 0.0 => ["Infinity", "inf", "\"Infinity\""][*how].to_owned(),
                value if value.is_infinite() => ["-Infinity", "-inf", "-1e400"][*how].to_owned(),
                value => [json!(value).to_string(), json!(f64::from(*value)).to_string(), format!("{value:e}")][*how].clone(),
            };
            let list = values.iter().map(written).collect::<Vec<_>>().join(if text.len() % 2 == 0 { "," } else { " ,\n" });
            let answer = parse(format!("{{{}:[{list}]}}", json!(text)).as_bytes()).unwrap();
            let spec = TensorSpec::fixed("y", ElementType::F32, []);
            let found = from_json(&spec, &answer[&text], &[values.len() as i64]).unwrap();
            let Elements::F32(found) = found else { panic!() };
            prop_assert_eq!(found.len(), values.len());
            for (found, (value, _)) in found.iter().zip(&values) {
                prop_assert!(found.to_bits() == value.to_bits() || found.is_nan() && value.is_nan(), "{} {}", found, value);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in any::<Vec<u8>>(), words in "[\"\\\\NaInf,:0-9e. \\[\\]-]*") {
            drop((parse(&text), parse(words.as_bytes())));
        }

        #[test]
        fn rows_are_lists_in_lists(a in 0_usize..3, b in 0_usize..3) {
            let tensor = Tensor { shape: vec![a, b], elements: Elements::I64((0..(2 * a * b) as i64).collect()) };
            let mut json = Vec::new();
            write_row(&mut json, &tensor, 1).unwrap();
            let row: Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(row.as_array().map(Vec::len), Some(a));
            let expected = Elements::I64(((a * b) as i64..(2 * a * b) as i64).collect());
            let spec = TensorSpec::fixed("y", ElementType::I64, []);
            prop_assert_eq!(from_json(&spec, &row, &[a as i64, b as i64]).unwrap(), expected);
        }
    }
}
