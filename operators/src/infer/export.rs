//! How a model is exported so that it can be fed in batches.

/// How a model gets a batch dimension that may be any.
pub(super) fn export_any_rows(input: &str) -> String {
    format!(
        "Export it with a first dimension that may be any: torch.onnx.export(…, dynamic_axes={{\"{input}\": {{0: \"n\"}}}}), \
         in skl2onnx and onnxmltools FloatTensorType([None, width])"
    )
}
