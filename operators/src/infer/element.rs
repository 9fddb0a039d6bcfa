//! The element types of tensors: one table of types, from which all code that depends on the type is generated.

use std::fmt;
use std::ops::Range;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Calls a macro with a table of the element types whose memory layout is the same in a tensor: all types except text.
/// Its columns: description, variant, Rust type, name in ONNX Runtime, name in the Open Inference Protocol.
macro_rules! each_number {
    ($callback:ident) => {
        $callback! {
            ("32-bit floats", F32, f32, Float32, "FP32"),
            ("64-bit floats", F64, f64, Float64, "FP64"),
            ("64-bit integers", I64, i64, Int64, "INT64"),
            ("Booleans", Bool, bool, Bool, "BOOL"),
            ("16-bit floats", F16, f16, Float16, "FP16"),
            ("16-bit floats with the range of 32-bit ones", BF16, bf16, Bfloat16, "BF16"),
            ("8-bit integers", I8, i8, Int8, "INT8"),
            ("16-bit integers", I16, i16, Int16, "INT16"),
            ("32-bit integers", I32, i32, Int32, "INT32"),
            ("8-bit integers without a sign", U8, u8, Uint8, "UINT8"),
            ("16-bit integers without a sign", U16, u16, Uint16, "UINT16"),
            ("32-bit integers without a sign", U32, u32, Uint32, "UINT32"),
            ("64-bit integers without a sign", U64, u64, Uint64, "UINT64"),
        }
    };
}
pub(super) use each_number;

/// Evaluates the same expression for each type of elements, including text.
macro_rules! each {
    ($elements:expr, $values:ident => $body:expr) => {
        match $elements {
            Elements::F32($values) => $body,
            Elements::F64($values) => $body,
            Elements::I64($values) => $body,
            Elements::Bool($values) => $body,
            Elements::F16($values) => $body,
            Elements::BF16($values) => $body,
            Elements::I8($values) => $body,
            Elements::I16($values) => $body,
            Elements::I32($values) => $body,
            Elements::U8($values) => $body,
            Elements::U16($values) => $body,
            Elements::U32($values) => $body,
            Elements::U64($values) => $body,
            Elements::Text($values) => $body,
        }
    };
}

macro_rules! types {
    ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
        /// The elements of a tensor, row by row.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Elements {
            $(#[doc = concat!($what, ".")] $variant(Vec<$value>),)+
            /// Strings, UTF-8.
            Text(Vec<String>),
        }

        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[non_exhaustive]
        pub enum ElementType {
            $(#[doc = concat!($what, ".")] $variant,)+
            /// Strings, UTF-8.
            Text,
        }

        impl fmt::Display for ElementType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => stringify!($value),)+
                    Self::Text => "text",
                })
            }
        }

        impl ElementType {
            /// Returns the name of the type in the Open Inference Protocol.
            #[cfg(feature = "model-servers")]
            pub(super) fn datatype(self) -> &'static str {
                match self {
                    $(Self::$variant => $datatype,)+
                    Self::Text => "BYTES",
                }
            }

            /// Returns the type with this name in the Open Inference Protocol.
            #[cfg(feature = "model-servers")]
            pub(super) fn of_datatype(datatype: &str) -> Option<Self> {
                Some(match datatype {
                    $($datatype => Self::$variant,)+
                    "BYTES" => Self::Text,
                    _ => return None,
                })
            }
        }

        impl Elements {
            /// Returns `len` elements, each a zero, `false` or an empty text.
            #[must_use]
            pub fn zeros(element: ElementType, len: usize) -> Self {
                match element {
                    $(ElementType::$variant => Self::$variant(vec![<$value>::default(); len]),)+
                    ElementType::Text => Self::Text(vec![String::new(); len]),
                }
            }

            /// Returns the type of the elements.
            #[must_use]
            pub fn element_type(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)+
                    Self::Text(_) => ElementType::Text,
                }
            }

            /// Appends the elements of `other` in `range`. Appends nothing when the types or the range do not fit.
            pub(super) fn extend_from(&mut self, other: &Self, range: Range<usize>) {
                match (self, other) {
                    $((Self::$variant(to), Self::$variant(from)) => {
                        to.extend_from_slice(from.get(range).unwrap_or_default());
                    })+
                    (Self::Text(to), Self::Text(from)) => to.extend_from_slice(from.get(range).unwrap_or_default()),
                    _ => debug_assert!(false, "tensors of two types"),
                }
            }
        }
    };
}
each_number!(types);

impl Elements {
    /// Returns an empty list of elements of this type.
    #[must_use]
    pub fn new(element: ElementType) -> Self {
        Self::zeros(element, 0)
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all elements; the memory stays allocated.
    pub fn clear(&mut self) {
        each!(self, values => values.clear());
    }

    /// Keeps the first `len` elements and removes the others.
    pub fn truncate(&mut self, len: usize) {
        each!(self, values => values.truncate(len));
    }

    /// Repeats the last element until there are `len`.
    #[cfg(feature = "model-servers")]
    pub(super) fn repeat_last(&mut self, len: usize) {
        fn fill_up<T: Clone>(values: &mut Vec<T>, len: usize) {
            if let Some(last) = values.last().cloned().filter(|_| values.len() < len) {
                values.resize(len, last);
            }
        }
        each!(self, values => fill_up(values, len));
    }

    /// Returns the first float in `range` that is NaN or infinite.
    pub(super) fn not_finite(&self, range: Range<usize>) -> Option<f64> {
        fn first<T: Copy + Into<f64>>(values: &[T], range: Range<usize>) -> Option<f64> {
            values.get(range)?.iter().map(|value| (*value).into()).find(|value: &f64| !value.is_finite())
        }
        match self {
            Self::F32(values) => first(values, range),
            Self::F64(values) => first(values, range),
            Self::F16(values) => first(values, range),
            Self::BF16(values) => first(values, range),
            _ => None,
        }
    }

    /// Converts the elements to a type that can represent every value of theirs. Returns none where the conversion is
    /// not supported.
    #[cfg(feature = "model-servers")]
    pub(super) fn widened(self, to: ElementType) -> Option<Self> {
        if self.element_type() == to {
            return Some(self);
        }
        Some(match (to, self) {
            (ElementType::F32, Self::F16(values)) => Self::F32(values.into_iter().map(Into::into).collect()),
            (ElementType::F32, Self::BF16(values)) => Self::F32(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::I8(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::I16(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::I32(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::U8(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::U16(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            (ElementType::I64, Self::U32(values)) => Self::I64(values.into_iter().map(Into::into).collect()),
            _ => return None,
        })
    }

    /// Formats one element for people to read.
    pub(super) fn shown(&self, at: usize) -> String {
        match self {
            Self::Text(values) => values.get(at).map(|text| format!("{text:?}")),
            numbers => each!(numbers, values => values.get(at).map(ToString::to_string)),
        }
        .unwrap_or_else(|| "?".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_one_name_each() {
        for (element, name, datatype) in [
            (ElementType::F16, "f16", "FP16"),
            (ElementType::BF16, "bf16", "BF16"),
            (ElementType::U8, "u8", "UINT8"),
            (ElementType::Bool, "bool", "BOOL"),
            (ElementType::Text, "text", "BYTES"),
        ] {
            assert_eq!((element.to_string().as_str(), element.datatype()), (name, datatype));
            assert_eq!(ElementType::of_datatype(datatype), Some(element));
            assert_eq!(serde_json::to_value(element).unwrap(), name);
            assert_eq!(Elements::zeros(element, 3).len(), 3);
        }
        assert_eq!(ElementType::of_datatype("FP8"), None);
    }

    #[test]
    fn what_is_not_finite_is_found_in_every_kind_of_float() {
        let halves = |values: [f32; 3]| Elements::F16(values.map(f16::from_f32).to_vec());
        assert_eq!(halves([1.0, 2.0, 65504.0]).not_finite(0..3), None);
        // The value is beyond the range of a 16-bit float.
        assert_eq!(halves([1.0, 2.0, 1e6]).not_finite(0..3), Some(f64::INFINITY));
        assert!(Elements::BF16(vec![bf16::NAN]).not_finite(0..1).is_some_and(f64::is_nan));
        assert_eq!(Elements::F64(vec![f64::NEG_INFINITY, 1.0]).not_finite(1..2), None);
        assert_eq!(Elements::U64(vec![u64::MAX]).not_finite(0..1), None);
    }

    #[test]
    fn only_what_holds_all_values_widens() {
        assert_eq!(Elements::U32(vec![u32::MAX]).widened(ElementType::I64), Some(Elements::I64(vec![4_294_967_295])));
        assert_eq!(Elements::F16(vec![f16::MAX]).widened(ElementType::F32), Some(Elements::F32(vec![65504.0])));
        assert_eq!(Elements::U64(vec![1]).widened(ElementType::I64), None);
        assert_eq!(Elements::F32(vec![1.0]).widened(ElementType::F16), None);
    }
}
