//! The inputs and outputs that an ONNX model declares, and advice on exporting a model whose declaration cannot be
//! used.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::element::{ElementType, each_number};
use super::export::export_any_rows;
use super::tensor::TensorSpec;

/// An input or output that is a batch of tensors.
pub(super) struct Found {
    pub(super) spec: TensorSpec,
    /// The number of rows, if it is fixed.
    pub(super) rows: Option<usize>,
}

/// Returns the declaration of an input or output; `None` where it is not a batch of tensors of a known type.
pub(super) fn found(outlet: &Outlet) -> Option<Found> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return None };
    let (rows, sizes) = shape.split_first()?;
    let sizes = sizes.iter().map(|size| usize::try_from(*size).ok());
    Some(Found { spec: TensorSpec::dynamic(outlet.name(), element(*ty)?, sizes), rows: usize::try_from(*rows).ok() })
}

macro_rules! element_of {
    ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
        fn element(ty: TensorElementType) -> Option<ElementType> {
            Some(match ty {
                $(TensorElementType::$onnx => ElementType::$variant,)+
                TensorElementType::String => ElementType::Text,
                _ => return None,
            })
        }
    };
}
each_number!(element_of);

/// Returns the number of rows that every run of a session must have, if it is fixed.
///
/// # Errors
/// Returns a message that says why the inputs cannot take batches, and what to do.
pub(super) fn rows_of(session: &Session) -> Result<Option<usize>, String> {
    let rows: Vec<Option<usize>> = session.inputs().iter().filter_map(found).map(|input| input.rows).collect();
    let first = rows.first().copied().flatten();
    if rows.iter().all(|rows| *rows == first) && first != Some(0) {
        return Ok(first);
    }
    Err(format!(
        "its inputs are {}: their first dimensions, the rows of a batch, are not the same. {}",
        shown(session.inputs()),
        export_any_rows(session.inputs().first().map_or("input", Outlet::name))
    ))
}

/// Returns advice for an output that is a list of maps.
pub(super) fn hint(outlets: &[Outlet], wanted: &str) -> &'static str {
    let is_map = |outlet: &Outlet| matches!(outlet.dtype(), ValueType::Sequence(_) | ValueType::Map { .. });
    if outlets.iter().any(|outlet| outlet.name() == wanted && is_map(outlet)) {
        ". Export it with zipmap=False, so that the output is a tensor: skl2onnx: options={\"zipmap\": False}; \
         onnxmltools: convert_lightgbm(…, zipmap=False)"
    } else {
        ""
    }
}

/// Formats inputs or outputs for people to read: `"features" f32 [n, 18]`.
pub(super) fn shown(outlets: &[Outlet]) -> String {
    let one = |outlet: &Outlet| match found(outlet) {
        Some(Found { spec, rows: None }) => spec.to_string(),
        Some(Found { spec, rows: Some(rows) }) => spec.to_string().replacen("[n", &format!("[{rows}"), 1),
        None => format!("\"{}\" {}", outlet.name(), outlet.dtype()),
    };
    outlets.iter().map(one).collect::<Vec<_>>().join(", ")
}
