//! The check for rows without a score: NaN and infinities do not count as scores.

use super::element::Elements;
use super::tensor::{Tensor, TensorSpec};

/// The part of a row that must be finite for the row to count as scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finite {
    /// Nothing: every output of the model counts as a score.
    Nothing,
    /// This column of the first output.
    Column(usize),
    /// All floats of all outputs that the program asked for.
    Everything,
}

impl Finite {
    /// Returns the rows without a score, in order, each with the reason. Allocates nothing when there are none.
    pub(super) fn faults(self, specs: &[TensorSpec], rows: usize, outputs: &[Tensor]) -> Vec<(usize, String)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Column(column) => {
                let Some(scores) = outputs.first() else { return Vec::new() };
                let len = scores.row_len();
                let fault = |row: usize| {
                    let at = row * len + column;
                    let score = scores.elements.not_finite(at..at + 1).filter(|_| column < len)?;
                    Some((row, format!("the score is {score}")))
                };
                (0..rows).filter_map(fault).collect()
            }
            Self::Everything => {
                if outputs.iter().all(|output| output.elements.not_finite(0..output.elements.len()).is_none()) {
                    return Vec::new();
                }
                let fault = |row: usize| {
                    let bad = |output: &Tensor| {
                        let len = output.row_len();
                        output.elements.not_finite(row * len..(row + 1) * len)
                    };
                    let found = specs.iter().zip(outputs).find_map(|(spec, output)| Some((spec, bad(output)?)));
                    found.map(|(spec, value)| (row, format!("the model gave {value} in \"{}\"", spec.name)))
                };
                (0..rows).filter_map(fault).collect()
            }
        }
    }
}

/// Returns whether two runs produced the same outputs for the same rows, to the last bit. Row `row` of `a` corresponds
/// to row `place(row)` of `b`.
pub(super) fn same_bits(a: &[Tensor], b: &[Tensor], rows: usize, place: impl Fn(usize) -> usize) -> bool {
    let row_of = |tensor: &Tensor, row: usize| {
        let mut one = Tensor { shape: tensor.shape.clone(), elements: Elements::new(tensor.elements.element_type()) };
        one.push_row(tensor, row);
        // A number is shown with enough digits to distinguish it from all others; all NaNs are shown alike.
        one.shown_row(0)
    };
    let pairs = || a.iter().zip(b);
    (0..rows).all(|row| pairs().all(|(a, b)| row_of(a, row) == row_of(b, place(row))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::element::ElementType;

    #[test]
    fn only_the_requested_values_must_be_finite() {
        let specs = [TensorSpec::fixed("p", ElementType::F32, [2]), TensorSpec::fixed("s", ElementType::F64, [])];
        let (nan, inf) = (f32::NAN, f64::INFINITY);
        let p = Tensor { shape: vec![2], elements: Elements::F32(vec![nan, 1.0, 2.0, nan, 3.0, 4.0]) };
        let s = Tensor { shape: vec![], elements: Elements::F64(vec![1.0, 2.0, inf]) };
        let of = |finite: Finite| finite.faults(&specs, 3, &[p.clone(), s.clone()]);
        assert_eq!(of(Finite::Nothing), []);
        assert_eq!(of(Finite::Column(0)), [(0, "the score is NaN".to_owned())]);
        assert_eq!(of(Finite::Column(1)), [(1, "the score is NaN".to_owned())]);
        assert_eq!(of(Finite::Column(2)), [], "a column that is not there is another fault");
        let wanted = ["NaN in \"p\"", "NaN in \"p\"", "inf in \"s\""].map(|what| format!("the model gave {what}"));
        assert_eq!(of(Finite::Everything), wanted.into_iter().enumerate().collect::<Vec<_>>());
    }
}
