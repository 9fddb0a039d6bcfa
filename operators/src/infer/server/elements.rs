//! Tensors in the forms that servers take and give: raw little-endian bytes, lists of a message, JSON.

use std::io::Write;

use serde_json::Value;

use super::call::CallError;
use crate::infer::{ElementType, Elements, Tensor, TensorSpec};

/// Raw bytes as Triton and the Open Inference Protocol lay them out; each text has its length before it.
pub(super) fn to_raw(elements: &Elements) -> Vec<u8> {
    match elements {
        Elements::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Elements::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Elements::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Elements::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        Elements::Text(values) => {
            let mut raw = Vec::new();
            for text in values {
                raw.extend((text.len() as u32).to_le_bytes());
                raw.extend(text.as_bytes());
            }
            raw
        }
    }
}

/// Integers of `bytes` bytes each, which the program has as 64-bit ones.
fn widened<const N: usize>(raw: &[u8], widen: impl Fn([u8; N]) -> i64) -> Option<Elements> {
    let (chunks, rest) = raw.as_chunks::<N>();
    rest.is_empty().then(|| Elements::I64(chunks.iter().map(|chunk| widen(*chunk)).collect()))
}

/// Elements out of raw bytes; none when they are not what they are said to be, or the program cannot have them.
pub(super) fn from_raw(datatype: &str, raw: &[u8]) -> Option<Elements> {
    match datatype {
        "FP32" => {
            let (chunks, rest) = raw.as_chunks();
            rest.is_empty().then(|| Elements::F32(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()))
        }
        "FP64" => {
            let (chunks, rest) = raw.as_chunks();
            rest.is_empty().then(|| Elements::F64(chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()))
        }
        "INT64" => widened(raw, i64::from_le_bytes),
        "INT32" => widened(raw, |chunk| i32::from_le_bytes(chunk).into()),
        "INT16" => widened(raw, |chunk| i16::from_le_bytes(chunk).into()),
        "INT8" => widened(raw, |chunk| i8::from_le_bytes(chunk).into()),
        "UINT32" => widened(raw, |chunk| u32::from_le_bytes(chunk).into()),
        "UINT16" => widened(raw, |chunk| u16::from_le_bytes(chunk).into()),
        "UINT8" => widened(raw, |chunk| u8::from_le_bytes(chunk).into()),
        "BOOL" => Some(Elements::Bool(raw.iter().map(|byte| *byte != 0).collect())),
        "BYTES" => {
            let (mut texts, mut rest) = (Vec::new(), raw);
            while !rest.is_empty() {
                let (len, more) = rest.split_first_chunk()?;
                let (text, more) = more.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                texts.push(String::from_utf8(text.to_vec()).ok()?);
                rest = more;
            }
            Some(Elements::Text(texts))
        }
        _ => None,
    }
}

/// What a type of the Open Inference Protocol is to the program, as an output.
pub(super) fn element_of(datatype: &str) -> Option<ElementType> {
    from_raw(datatype, &[]).map(|none| none.element_type())
}

/// Puts an answer into an output, when it is what was wanted.
pub(super) fn fill(
    output: &mut Tensor,
    spec: &TensorSpec,
    rows: usize,
    shape: &[i64],
    elements: Elements,
) -> Result<(), CallError> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let answer = sizes.as_deref().and_then(<[usize]>::split_first).and_then(|(batch, row)| {
        // MLServer gives a column for a number a row: [n, 1] for [n].
        let flat = spec.shape.is_empty() && row.iter().all(|size| *size == 1);
        let answer = Tensor { shape: if flat { Vec::new() } else { row.to_vec() }, elements };
        (*batch == rows && spec.holds(rows, &answer)).then_some(answer)
    });
    *output = answer.ok_or_else(|| {
        CallError::Failed(format!("{spec} was asked for, of {rows} rows; the answer is of shape {shape:?}, or type"))
    })?;
    Ok(())
}

/// The answer has no such output.
pub(super) fn missing(spec: &TensorSpec) -> CallError {
    CallError::Failed(format!("the answer has no output {spec}"))
}

/// Elements as a flat list of JSON.
pub(super) fn write_flat(to: &mut Vec<u8>, elements: &Elements) -> Result<(), CallError> {
    let finite = match elements {
        Elements::F32(values) => values.iter().all(|value| value.is_finite()),
        Elements::F64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    };
    if !finite {
        // The batch is bisected, so that this costs the record that has it.
        return Err(CallError::Refused("a NaN or an infinity cannot be sent as JSON; gRPC can".to_owned()));
    }
    let written = match elements {
        Elements::F32(values) => serde_json::to_writer(to, values),
        Elements::F64(values) => serde_json::to_writer(to, values),
        Elements::I64(values) => serde_json::to_writer(to, values),
        Elements::Bool(values) => serde_json::to_writer(to, values),
        Elements::Text(values) => serde_json::to_writer(to, values),
    };
    written.map_err(|e| CallError::Refused(format!("it cannot be written as JSON: {e}")))
}

/// One row, as lists in lists; a row of one number as that number.
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

/// The shape of lists in lists, as their first elements have it.
pub(super) fn shape_of(mut value: &Value) -> Vec<i64> {
    let mut shape = Vec::new();
    while let Value::Array(values) = value {
        shape.push(values.len() as i64);
        let Some(first) = values.first() else { break };
        value = first;
    }
    shape
}

/// Elements out of JSON, flat or lists in lists. A null is no number.
pub(super) fn from_json(element: ElementType, value: &Value) -> Option<Elements> {
    let mut leaves = Vec::new();
    flatten(value, &mut leaves);
    let leaves = leaves.into_iter();
    Some(match element {
        ElementType::F32 => Elements::F32(leaves.map(|leaf| leaf.as_f64().map(|n| n as f32)).collect::<Option<_>>()?),
        ElementType::F64 => Elements::F64(leaves.map(Value::as_f64).collect::<Option<_>>()?),
        ElementType::I64 => Elements::I64(leaves.map(Value::as_i64).collect::<Option<_>>()?),
        ElementType::Bool => Elements::Bool(leaves.map(Value::as_bool).collect::<Option<_>>()?),
        ElementType::Text => {
            Elements::Text(leaves.map(|leaf| leaf.as_str().map(str::to_owned)).collect::<Option<_>>()?)
        }
    })
}

fn flatten<'a>(value: &'a Value, to: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, to)),
        leaf => to.push(leaf),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_integers_are_widened_and_broken_bytes_refused() {
        assert_eq!(from_raw("INT32", &[0xff; 8]), Some(Elements::I64(vec![-1, -1])));
        assert_eq!(from_raw("UINT8", &[7, 255]), Some(Elements::I64(vec![7, 255])));
        for (datatype, raw) in
            [("INT32", &[1, 2, 3][..]), ("BYTES", &[9, 0, 0, 0, 1]), ("FP16", &[0, 0]), ("BF16", &[])]
        {
            assert_eq!(from_raw(datatype, raw), None, "{datatype}");
        }
    }

    #[test]
    fn what_json_cannot_carry_is_refused() {
        for values in [vec![1.0, f32::NAN], vec![f32::INFINITY]] {
            let refused = write_flat(&mut Vec::new(), &Elements::F32(values));
            assert!(matches!(refused, Err(CallError::Refused(_))));
        }
        assert_eq!(from_json(ElementType::F32, &serde_json::json!([1.0, null])), None);
        assert_eq!(from_json(ElementType::I64, &serde_json::json!([1.5])), None);
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        let spec = TensorSpec::fixed("y", ElementType::F32, [2]);
        let mut output = Tensor::empty(&spec);
        let values = || Elements::F32(vec![1.0, 2.0, 3.0, 4.0]);
        assert!(fill(&mut output, &spec, 2, &[2, 2], values()).is_ok());
        let number = TensorSpec::fixed("y", ElementType::F32, []);
        assert!(fill(&mut output, &number, 4, &[4, 1], values()).is_ok() && output.shape.is_empty());
        assert!(fill(&mut output, &number, 2, &[2, 2], values()).is_err());
        for (rows, shape) in [(4, &[4][..]), (1, &[1, 4]), (2, &[2, 3]), (2, &[-1, 2]), (4, &[]), (4, &[2, 2])] {
            assert!(fill(&mut output, &spec, rows, shape, values()).is_err(), "{shape:?}");
        }
    }

    proptest! {
        #[test]
        fn elements_survive_the_way(
            floats in any::<Vec<f32>>(), ints in any::<Vec<i64>>(), texts in any::<Vec<String>>(), bools in any::<Vec<bool>>()
        ) {
            let finite = floats.into_iter().filter(|float| float.is_finite()).collect();
            let cases = [
                ("FP32", Elements::F32(finite)), ("INT64", Elements::I64(ints)),
                ("BYTES", Elements::Text(texts)), ("BOOL", Elements::Bool(bools)),
            ];
            for (datatype, elements) in cases {
                let back = from_raw(datatype, &to_raw(&elements));
                prop_assert_eq!(back.as_ref(), Some(&elements));
                let mut json = Vec::new();
                write_flat(&mut json, &elements).unwrap();
                let json = serde_json::from_slice(&json).unwrap();
                prop_assert_eq!(from_json(elements.element_type(), &json), Some(elements));
            }
        }

        #[test]
        fn rows_are_lists_in_lists(a in 0_usize..3, b in 0_usize..3) {
            let tensor = Tensor { shape: vec![a, b], elements: Elements::I64((0..(2 * a * b) as i64).collect()) };
            let mut json = Vec::new();
            write_row(&mut json, &tensor, 1).unwrap();
            let row: Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(row.as_array().map(Vec::len), Some(a));
            let expected = Elements::I64(((a * b) as i64..(2 * a * b) as i64).collect());
            prop_assert_eq!(from_json(ElementType::I64, &row), Some(expected));
        }
    }
}
