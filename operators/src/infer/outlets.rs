//! The inputs and outputs that an ONNX model declares, and advice on exporting a model whose declaration cannot be
//! used.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::element::{ElementType, each_number};
use super::export::export_any_rows;
use super::tensor::TensorSpec;
use super::trees::{FEATURES_SHA256, Program, split_names};

/// An input or output that is a batch of tensors.
pub(super) struct Found {
    pub(super) spec: TensorSpec,
    /// The number of rows, if it is fixed.
    pub(super) rows: Option<usize>,
}

/// Returns the declaration of an input or output; `None` where it is not a batch of tensors of a known type.
fn found(outlet: &Outlet) -> Option<Found> {
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

/// What a model declares, whoever read its file.
pub(super) struct Declared {
    pub(super) inputs: Vec<Declaration>,
    pub(super) outputs: Vec<Declaration>,
    /// The names of the features that the model was trained on, if it has them.
    pub(super) feature_names: Option<Vec<String>>,
    /// The name that the model has for itself.
    pub(super) name: Option<String>,
    /// The SHA-256 of its `features.json`, if it was exported with one.
    pub(super) features_sha256: Option<String>,
}

/// The declaration of one input or output.
pub(super) struct Declaration {
    pub(super) name: String,
    /// None where it is not a batch of tensors of a known type.
    pub(super) found: Option<Found>,
    /// The type as ONNX Runtime names it.
    kind: String,
    is_map: bool,
}

impl Declared {
    /// Returns what the model of a session declares.
    pub(super) fn of_session(session: &Session) -> ort::Result<Self> {
        let metadata = session.metadata()?;
        let names = metadata.custom("feature_names");
        Ok(Self {
            inputs: session.inputs().iter().map(Declaration::of_outlet).collect(),
            outputs: session.outputs().iter().map(Declaration::of_outlet).collect(),
            feature_names: names.map(|names| split_names(&names)),
            name: metadata.custom("model_name"),
            features_sha256: metadata.custom(FEATURES_SHA256),
        })
    }

    /// Returns what a forest declares: of its outputs, those that are known.
    pub(super) fn of_forest(forest: &Program) -> Self {
        Self {
            inputs: vec![Declaration::of_spec(forest.input())],
            outputs: forest.outputs().map(Declaration::of_spec).collect(),
            feature_names: forest.feature_names().map(<[String]>::to_vec),
            name: forest.name().map(str::to_owned),
            features_sha256: forest.features_sha256().map(str::to_owned),
        }
    }
}

impl Declaration {
    fn of_outlet(outlet: &Outlet) -> Self {
        let is_map = matches!(outlet.dtype(), ValueType::Sequence(_) | ValueType::Map { .. });
        Self { name: outlet.name().to_owned(), found: found(outlet), kind: outlet.dtype().to_string(), is_map }
    }

    fn of_spec(spec: &TensorSpec) -> Self {
        let found = Some(Found { spec: spec.clone(), rows: None });
        Self { name: spec.name.clone(), found, kind: String::new(), is_map: false }
    }
}

/// Returns the number of rows that every run of a model must have, if it is fixed.
///
/// # Errors
/// Returns a message that says why the inputs cannot take batches, and what to do.
pub(super) fn rows_of(inputs: &[Declaration]) -> Result<Option<usize>, String> {
    let rows: Vec<Option<usize>> =
        inputs.iter().filter_map(|input| input.found.as_ref()).map(|input| input.rows).collect();
    let first = rows.first().copied().flatten();
    if rows.iter().all(|rows| *rows == first) && first != Some(0) {
        return Ok(first);
    }
    Err(format!(
        "its inputs are {}: their first dimensions, the rows of a batch, are not the same. {}",
        shown(inputs),
        export_any_rows(inputs.first().map_or("input", |input| &input.name))
    ))
}

/// Returns advice for an output that is a list of maps.
pub(super) fn hint(outlets: &[Declaration], wanted: &str) -> &'static str {
    if outlets.iter().any(|outlet| outlet.name == wanted && outlet.is_map) {
        ". Export it with zipmap=False, so that the output is a tensor: skl2onnx: options={\"zipmap\": False}; \
         onnxmltools: convert_lightgbm(…, zipmap=False)"
    } else {
        ""
    }
}

/// Formats inputs or outputs for people to read: `"features" f32 [n, 18]`.
pub(super) fn shown(outlets: &[Declaration]) -> String {
    let one = |outlet: &Declaration| match &outlet.found {
        Some(Found { spec, rows: None }) => spec.to_string(),
        Some(Found { spec, rows: Some(rows) }) => spec.to_string().replacen("[n", &format!("[{rows}"), 1),
        None => format!("\"{}\" {}", outlet.name, outlet.kind),
    };
    outlets.iter().map(one).collect::<Vec<_>>().join(", ")
}
