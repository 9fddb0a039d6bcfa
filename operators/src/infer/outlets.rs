//! What an ONNX model says of its inputs and outputs, and how to export one that says what cannot be used.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::element::{ElementType, each_number};
use super::export::export_any_rows;
use super::tensor::TensorSpec;

/// An input or output that is a batch of tensors.
pub(super) struct Found {
    pub(super) spec: TensorSpec,
    /// The only number of rows it says it can have.
    pub(super) rows: Option<usize>,
}

/// `None` for what is no batch of tensors of a known type.
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

/// The only number of rows that a session can be run with, where there is one.
///
/// # Errors
/// Why its inputs cannot be fed batches, and what to do.
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

/// What to do where an output is a list of maps.
pub(super) fn hint(outlets: &[Outlet], wanted: &str) -> &'static str {
    let is_map = |outlet: &Outlet| matches!(outlet.dtype(), ValueType::Sequence(_) | ValueType::Map { .. });
    if outlets.iter().any(|outlet| outlet.name() == wanted && is_map(outlet)) {
        ". Export it with zipmap=False, so that the output is a tensor: skl2onnx: options={\"zipmap\": False}; \
         onnxmltools: convert_lightgbm(…, zipmap=False)"
    } else {
        ""
    }
}

/// Inputs or outputs as people write them: `"features" f32 [n, 18]`.
pub(super) fn shown(outlets: &[Outlet]) -> String {
    let one = |outlet: &Outlet| match found(outlet) {
        Some(Found { spec, rows: None }) => spec.to_string(),
        Some(Found { spec, rows: Some(rows) }) => spec.to_string().replacen("[n", &format!("[{rows}"), 1),
        None => format!("\"{}\" {}", outlet.name(), outlet.dtype()),
    };
    outlets.iter().map(one).collect::<Vec<_>>().join(", ")
}
