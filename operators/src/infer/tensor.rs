//! Tensors: the inputs and outputs of a model, one batch at a time.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::element::{ElementType, Elements};

/// A batch of one input or output: `[rows, shape…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The dimensions of one row, without the batch dimension.
    pub shape: Vec<usize>,
    /// The elements of all rows.
    pub elements: Elements,
}

impl Tensor {
    /// Creates a tensor without rows. Dimensions of variable size are 0 until the first row sets them.
    #[must_use]
    pub fn empty(spec: &TensorSpec) -> Self {
        let shape = spec.shape.iter().map(|size| size.unwrap_or(0)).collect();
        Self { shape, elements: Elements::new(spec.element) }
    }

    /// Returns the number of elements in one row.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Removes all rows; the memory stays allocated.
    pub fn clear(&mut self) {
        self.elements.clear();
    }

    /// Appends row `row` of `other`, whose rows have the same shape.
    pub fn push_row(&mut self, other: &Self, row: usize) {
        self.push_rows(other, row..row + 1);
    }

    /// Appends rows of `other`, whose rows have the same shape.
    pub(crate) fn push_rows(&mut self, other: &Self, rows: Range<usize>) {
        let len = other.row_len();
        self.elements.extend_from(&other.elements, rows.start * len..rows.end * len);
    }

    /// Formats one row for people to read: `3.5`, or `[1, 2]`.
    pub(crate) fn shown_row(&self, row: usize) -> String {
        let len = self.row_len();
        let cells: Vec<String> = (row * len..(row + 1) * len).map(|at| self.elements.shown(at)).collect();
        match &cells[..] {
            [cell] => cell.clone(),
            _ => format!("[{}]", cells.join(", ")),
        }
    }

    /// Formats one cell of a row for people to read.
    pub(crate) fn shown_cell(&self, row: usize, column: usize) -> String {
        self.elements.shown(row * self.row_len() + column)
    }
}

/// The name, type and shape of an input or output, as a model or a program declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// The name of the input or output.
    pub name: String,
    /// The type of the elements.
    pub element: ElementType,
    /// The dimensions of one row, without the batch dimension; `None` for a dimension of variable size.
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    /// Creates a spec of rows with a fixed shape.
    #[must_use]
    pub fn fixed(name: impl Into<String>, element: ElementType, shape: impl IntoIterator<Item = usize>) -> Self {
        Self { name: name.into(), element, shape: shape.into_iter().map(Some).collect() }
    }

    /// Creates a spec of rows with dimensions of variable size (`None`), which may differ from batch to batch.
    #[must_use]
    pub fn dynamic(
        name: impl Into<String>,
        element: ElementType,
        shape: impl IntoIterator<Item = Option<usize>>,
    ) -> Self {
        Self { name: name.into(), element, shape: shape.into_iter().collect() }
    }

    /// Returns whether all dimensions of a row are known.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.shape.iter().all(Option::is_some)
    }

    /// Returns whether rows of `other` fit this spec: the same type and rank, and the same size in each dimension that
    /// both specify.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        let sizes = self.shape.iter().zip(&other.shape);
        self.element == other.element
            && self.shape.len() == other.shape.len()
            && sizes.into_iter().all(|(a, b)| a.is_none() || b.is_none() || a == b)
    }

    /// Returns whether `tensor` consists of `rows` rows that fit this spec.
    #[must_use]
    pub fn holds(&self, rows: usize, tensor: &Tensor) -> bool {
        let sizes = self.shape.iter().zip(&tensor.shape);
        self.element == tensor.elements.element_type()
            && self.shape.len() == tensor.shape.len()
            && sizes.into_iter().all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found))
            && tensor.elements.len() == rows * tensor.row_len()
    }
}

/// Formats a spec like `"scores" f32 [n, 2]`.
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {} [n", self.name, self.element)?;
        for size in &self.shape {
            match size {
                Some(size) => write!(f, ", {size}")?,
                None => f.write_str(", ?")?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_fit_where_both_say_the_same() {
        let any = TensorSpec::dynamic("x", ElementType::F32, [None]);
        let three = TensorSpec::fixed("y", ElementType::F32, [3]);
        assert!(any.fits(&three) && three.fits(&any));
        assert!(!three.fits(&TensorSpec::fixed("y", ElementType::F32, [4])));
        assert!(!three.fits(&TensorSpec::fixed("y", ElementType::F64, [3])));
        assert!(!three.fits(&TensorSpec::fixed("y", ElementType::F32, [3, 1])));
        assert_eq!(TensorSpec::dynamic("x", ElementType::Text, [Some(2), None]).to_string(), "\"x\" text [n, 2, ?]");
    }

    #[test]
    fn rows_are_copied_and_shown() {
        let spec = TensorSpec::fixed("x", ElementType::I64, [2]);
        let mut tensor = Tensor::empty(&spec);
        tensor.elements = Elements::I64(vec![1, 2, 3, 4]);
        assert!(spec.holds(2, &tensor) && !spec.holds(3, &tensor));
        let mut other = Tensor::empty(&spec);
        other.push_row(&tensor, 1);
        assert_eq!(other.elements, Elements::I64(vec![3, 4]));
        assert_eq!((tensor.shown_row(0), tensor.shown_cell(1, 0)), ("[1, 2]".to_owned(), "3".to_owned()));
    }
}
