//! The encodings of tensors for servers: raw little-endian bytes, and lists of integers in a message. JSON is in
//! `json.rs`.

use half::{bf16, f16};

use super::call::CallError;
use crate::infer::element::each_number;
use crate::infer::{ElementType, Elements, Tensor, TensorSpec};

/// A number with its representation in memory.
trait Raw: Copy {
    const LEN: usize;
    fn put(self, to: &mut Vec<u8>);
    /// Reads the number from exactly [`LEN`](Self::LEN) bytes.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! raw {
    ($($number:ident)+) => {
        $(impl Raw for $number {
            const LEN: usize = size_of::<Self>();

            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn get(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap_or_default())
            }
        })+
    };
}
raw!(f32 f64 f16 bf16 i8 i16 i32 i64 u8 u16 u32 u64);

impl Raw for bool {
    const LEN: usize = 1;

    fn put(self, to: &mut Vec<u8>) {
        to.push(u8::from(self));
    }

    fn get(bytes: &[u8]) -> Self {
        bytes.first().is_some_and(|byte| *byte != 0)
    }
}

macro_rules! conversions {
    ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
        /// Writes elements as raw bytes, as Triton and the Open Inference Protocol define them: each text is preceded
        /// by its length.
        pub(super) fn to_raw(elements: &Elements) -> Vec<u8> {
            let mut raw = Vec::new();
            match elements {
                $(Elements::$variant(values) => {
                    raw.reserve(values.len() * <$value as Raw>::LEN);
                    values.iter().for_each(|value| value.put(&mut raw));
                })+
                Elements::Text(values) => {
                    for text in values {
                        raw.extend((text.len() as u32).to_le_bytes());
                        raw.extend(text.as_bytes());
                    }
                }
            }
            raw
        }

        /// Reads elements from raw bytes; none when the bytes do not fit the type.
        pub(super) fn from_raw(element: ElementType, raw: &[u8]) -> Option<Elements> {
            match element {
                $(ElementType::$variant => {
                    let chunks = raw.chunks_exact(<$value as Raw>::LEN);
                    chunks.remainder().is_empty().then(|| Elements::$variant(chunks.map(<$value as Raw>::get).collect()))
                })+
                ElementType::Text => texts(raw),
            }
        }
    };
}
each_number!(conversions);

fn texts(mut raw: &[u8]) -> Option<Elements> {
    let mut texts = Vec::new();
    while !raw.is_empty() {
        let (len, more) = raw.split_first_chunk()?;
        let (text, more) = more.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        raw = more;
    }
    Some(Elements::Text(texts))
}

/// Reads elements from a message's list of integers, which for 16-bit floats are their bits.
pub(super) fn from_ints(element: ElementType, ints: Vec<i64>) -> Option<Elements> {
    fn all<T: TryFrom<i64>>(ints: Vec<i64>) -> Option<Vec<T>> {
        ints.into_iter().map(|int| int.try_into().ok()).collect()
    }
    Some(match element {
        ElementType::I64 => Elements::I64(ints),
        ElementType::I32 => Elements::I32(all(ints)?),
        ElementType::I16 => Elements::I16(all(ints)?),
        ElementType::I8 => Elements::I8(all(ints)?),
        ElementType::U64 => Elements::U64(ints.into_iter().map(i64::cast_unsigned).collect()),
        ElementType::U32 => Elements::U32(all(ints)?),
        ElementType::U16 => Elements::U16(all(ints)?),
        ElementType::U8 => Elements::U8(all(ints)?),
        ElementType::Bool => Elements::Bool(ints.into_iter().map(|int| int != 0).collect()),
        ElementType::F16 => Elements::F16(all::<u16>(ints)?.into_iter().map(f16::from_bits).collect()),
        ElementType::BF16 => Elements::BF16(all::<u16>(ints)?.into_iter().map(bf16::from_bits).collect()),
        ElementType::F32 | ElementType::F64 | ElementType::Text => return None,
    })
}

/// Writes an answer to an output, if it has the wanted shape and a type that converts to the wanted type without loss.
pub(super) fn fill(
    output: &mut Tensor,
    spec: &TensorSpec,
    rows: usize,
    shape: &[i64],
    elements: Elements,
) -> Result<(), CallError> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let elements = elements.widened(spec.element);
    let answer = sizes.as_deref().and_then(<[usize]>::split_first).and_then(|(batch, row)| {
        // MLServer answers with a column where each row has one number: [n, 1] instead of [n].
        let flat = spec.shape.is_empty() && row.iter().all(|size| *size == 1);
        let answer = Tensor { shape: if flat { Vec::new() } else { row.to_vec() }, elements: elements? };
        (*batch == rows && spec.holds(rows, &answer)).then_some(answer)
    });
    *output = answer.ok_or_else(|| {
        CallError::Failed(format!("{spec} was asked for, of {rows} rows; the answer is of shape {shape:?}, or type"))
    })?;
    Ok(())
}

/// Returns the error of an answer that lacks this output.
pub(super) fn missing(spec: &TensorSpec) -> CallError {
    CallError::Failed(format!("the answer has no output {spec}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_what_they_are_said_to_be_or_refused() {
        assert_eq!(from_raw(ElementType::I32, &[0xff; 8]), Some(Elements::I32(vec![-1, -1])));
        assert_eq!(from_raw(ElementType::U8, &[7, 255]), Some(Elements::U8(vec![7, 255])));
        assert_eq!(from_raw(ElementType::F16, &[0, 0x3c]), Some(Elements::F16(vec![f16::ONE])));
        for (element, raw) in
            [(ElementType::I32, &[1, 2, 3][..]), (ElementType::Text, &[9, 0, 0, 0, 1]), (ElementType::BF16, &[1])]
        {
            assert_eq!(from_raw(element, raw), None, "{element}");
        }
    }

    #[test]
    fn lists_of_integers_are_of_their_type_or_refused() {
        assert_eq!(from_ints(ElementType::U8, vec![0, 255]), Some(Elements::U8(vec![0, 255])));
        assert_eq!(from_ints(ElementType::U64, vec![-1]), Some(Elements::U64(vec![u64::MAX])));
        assert_eq!(from_ints(ElementType::F16, vec![0x7c00]), Some(Elements::F16(vec![f16::INFINITY])));
        assert_eq!(from_ints(ElementType::I8, vec![128]), None);
        assert_eq!(from_ints(ElementType::F32, vec![1]), None);
    }

    #[test]
    fn an_answer_of_another_shape_is_refused_and_of_a_smaller_type_widened() {
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
        let long = TensorSpec::fixed("y", ElementType::I64, []);
        assert!(fill(&mut output, &long, 1, &[1], Elements::U8(vec![200])).is_ok());
        assert_eq!(output.elements, Elements::I64(vec![200]));
        assert!(fill(&mut output, &long, 1, &[1], Elements::F32(vec![200.0])).is_err());
    }

    proptest! {
        #[test]
        fn elements_survive_encoding_and_decoding(
            floats in any::<Vec<f32>>(), ints in any::<Vec<i64>>(), texts in any::<Vec<String>>(), bools in any::<Vec<bool>>(),
            halves in any::<Vec<u16>>(), bytes in any::<Vec<u8>>(),
        ) {
            let no_nan = floats.into_iter().filter(|float| !float.is_nan()).collect();
            let halves = halves.into_iter().map(bf16::from_bits).filter(|half| !half.is_nan()).collect();
            let cases = [
                Elements::F32(no_nan), Elements::I64(ints), Elements::Text(texts), Elements::Bool(bools),
                Elements::BF16(halves), Elements::U8(bytes),
            ];
            for elements in cases {
                prop_assert_eq!(from_raw(elements.element_type(), &to_raw(&elements)), Some(elements));
            }
        }
    }
}
