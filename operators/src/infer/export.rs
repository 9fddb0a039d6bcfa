//! Advice on exporting a model so that it can take batches.

/// Returns advice on exporting a model with a batch dimension of variable size.
pub(super) fn export_any_rows(input: &str) -> String {
    format!(
        "Export it with a first dimension that may be any: torch.onnx.export(…, dynamic_axes={{\"{input}\": {{0: \"n\"}}}}), \
         in skl2onnx and onnxmltools FloatTensorType([None, width])"
    )
}
