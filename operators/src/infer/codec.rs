//! The conversion of records to rows of tensors, and of rows of tensors to scores.

use half::{bf16, f16};

use super::element::{Elements, each_number};
use super::narrow::{beyond, narrow};
use super::spec::{FeatureRules, OddCounts};
use super::tensor::{Tensor, TensorSpec};

/// The conversion of a program's records to rows, and of a model's rows to scores.
pub(super) trait Codec<D>: 'static {
    type Score;

    fn encode(&self, record: &D, row: &mut InputRow<'_>);

    fn decode(&self, row: &OutputRow<'_>) -> Result<Self::Score, String>;

    /// Returns the score as a number, where it is one.
    fn number(&self, score: &Self::Score) -> Option<f64> {
        let _ = score;
        None
    }

    /// Returns the bucket of a record's key, or 0 where records have no keys.
    fn bucket(&self, record: &D, seed: &str) -> u32 {
        let _ = (record, seed);
        0
    }

    /// Returns a hash of a record's key, or none where records have no keys.
    fn key_hash(&self, record: &D) -> Option<u32> {
        let _ = record;
        None
    }

    /// Returns the names of the first input's columns, if it has names.
    fn columns(&self) -> &'static [&'static str] {
        &[]
    }
}

/// One row of each input of a model, which the program fills once per input. Values are copied directly into the
/// tensors of the batch.
#[derive(Debug)]
pub struct InputRow<'a> {
    pub(super) specs: &'a [TensorSpec],
    pub(super) inputs: &'a mut [Tensor],
    /// Number of complete rows.
    pub(super) rows: usize,
    /// Whether this row has another shape than the rows before it, and goes into another tensor.
    pub(super) other_shape: bool,
    pub(super) fault: Option<String>,
    /// The rules by which features become a row.
    pub(super) rules: Option<&'a FeatureRules>,
    /// What they found odd.
    pub(super) odd: &'a mut OddCounts,
}

macro_rules! fill {
    ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
        impl InputRow<'_> {
            $(
                #[doc = concat!("Fills the row of input `input` with ", stringify!($value),
                    "s. A size of its rows that may be any is as large as the values need.")]
                pub fn $value(&mut self, input: usize, values: &[$value]) {
                    if self.fits(input, values.len()) {
                        match self.inputs.get_mut(input).map(|input| &mut input.elements) {
                            Some(Elements::$variant(to)) => to.extend_from_slice(values),
                            _ => self.wrong(input, concat!("is no tensor of ", stringify!($value))),
                        }
                    }
                }
            )+
        }
    };
}
each_number!(fill);

impl InputRow<'_> {
    /// Fills the row of input `input` with f32s, each the nearest to the given f64. Refuses the record when a value is
    /// beyond the range of an f32.
    pub fn f32_from(&mut self, input: usize, values: &[f64]) {
        let mut narrowed = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            match narrow(*value) {
                Some(value) => narrowed.push(value),
                None => return self.refuse(beyond(&format!("value {at} of input {input}"), *value)),
            }
        }
        self.f32(input, &narrowed);
    }

    /// Refuses to score the record: it gets the default score, or becomes a dead letter with this reason.
    pub fn refuse(&mut self, reason: impl Into<String>) {
        self.fault.get_or_insert_with(|| reason.into());
    }

    /// Fills the row of input `input` with strings, like [`f32`](Self::f32). The strings are copied.
    pub fn text(&mut self, input: usize, values: &[&str]) {
        if self.fits(input, values.len()) {
            match self.inputs.get_mut(input).map(|input| &mut input.elements) {
                Some(Elements::Text(to)) => to.extend(values.iter().map(|text| (*text).to_owned())),
                _ => self.wrong(input, "is no tensor of text"),
            }
        }
    }

    /// Appends `len` zeros to an f32 input with rows of that size, and returns them to be overwritten in place.
    pub(super) fn zeros(&mut self, input: usize, len: usize) -> &mut [f32] {
        self.zeros_and_odd(input, len).0
    }

    /// Returns the same, and where to count what is odd about them.
    pub(super) fn zeros_and_odd(&mut self, input: usize, len: usize) -> (&mut [f32], &mut OddCounts) {
        let zeros = match self.inputs.get_mut(input).map(|input| &mut input.elements) {
            Some(Elements::F32(to)) => {
                let from = to.len();
                to.resize(from + len, 0.0);
                &mut to[from..]
            }
            _ => &mut [],
        };
        (zeros, self.odd)
    }

    /// Sets the shape of this row of input `input`. Call it before filling the row, where more than one dimension is of
    /// variable size.
    pub fn shape(&mut self, input: usize, shape: &[usize]) {
        let Some((spec, tensor)) = self.specs.get(input).zip(self.inputs.get_mut(input)) else {
            return self.wrong(input, "does not exist");
        };
        let sizes = spec.shape.iter().zip(shape);
        if spec.shape.len() != shape.len() || !{ sizes }.all(|(wanted, found)| wanted.is_none_or(|w| w == *found)) {
            self.wrong(input, &format!("takes {spec}, not rows of {shape:?}"));
        } else if self.rows == 0 {
            tensor.shape.clear();
            tensor.shape.extend_from_slice(shape);
        } else if tensor.shape != shape {
            self.other_shape = true;
        }
    }

    /// Returns whether `len` values are a row of the input.
    fn fits(&mut self, input: usize, len: usize) -> bool {
        if self.other_shape {
            return false;
        }
        let Some((spec, tensor)) = self.specs.get(input).zip(self.inputs.get_mut(input)) else {
            self.wrong(input, "does not exist");
            return false;
        };
        if tensor.row_len() == len {
            return true;
        }
        // A single dimension of variable size follows from the number of values.
        let known: usize = spec.shape.iter().flatten().product();
        let any = spec.shape.iter().filter(|size| size.is_none()).count();
        if any == 1 && known > 0 && len.is_multiple_of(known) {
            if self.rows == 0 {
                tensor.shape.clear();
                tensor.shape.extend(spec.shape.iter().map(|size| size.unwrap_or(len / known)));
            } else {
                self.other_shape = true;
            }
            return self.rows == 0;
        }
        if any > 1 && self.rows > 0 {
            self.other_shape = true;
            return false;
        }
        self.wrong(input, &format!("takes {spec}, not rows of {len} values"));
        false
    }

    fn wrong(&mut self, input: usize, what: &str) {
        self.fault.get_or_insert_with(|| format!("the program's features do not fit: input {input} {what}"));
    }
}

/// One row of each output of a model.
#[derive(Clone, Copy, Debug)]
pub struct OutputRow<'a> {
    pub(super) outputs: &'a [Tensor],
    pub(super) row: usize,
}

macro_rules! slice {
    ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
        impl<'a> OutputRow<'a> {
            $(
                #[doc = concat!("The values of output `output` in row-major order; none where it is no tensor of ",
                    stringify!($value), ".")]
                #[must_use]
                pub fn $value(&self, output: usize) -> &'a [$value] {
                    match self.outputs.get(output) {
                        Some(Tensor { elements: Elements::$variant(values), shape }) => self.slice(values, shape),
                        _ => &[],
                    }
                }
            )+
        }
    };
}
each_number!(slice);

impl<'a> OutputRow<'a> {
    /// Returns the texts of output `output` in row-major order; none where it is no tensor of text.
    #[must_use]
    pub fn text(&self, output: usize) -> &'a [String] {
        match self.outputs.get(output) {
            Some(Tensor { elements: Elements::Text(values), shape }) => self.slice(values, shape),
            _ => &[],
        }
    }

    fn slice<T>(&self, values: &'a [T], shape: &[usize]) -> &'a [T] {
        let len: usize = shape.iter().product();
        values.get(self.row * len..(self.row + 1) * len).unwrap_or_default()
    }

    /// Returns the dimensions of the row of output `output`.
    #[must_use]
    pub fn shape(&self, output: usize) -> &'a [usize] {
        self.outputs.get(output).map_or(&[], |output| &output.shape)
    }
}
