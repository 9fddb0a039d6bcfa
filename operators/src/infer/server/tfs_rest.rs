//! TensorFlow Serving's REST API, in its row format; KServe's V1 protocol is the same for predictions.

use std::time::Instant;

use serde_json::{Value, json};

use super::call::CallError;
use super::check::Description;
use super::elements::{fill, missing};
use super::json::{from_json, shape_of, write_row};
use super::protocol::{Protocol, Target};
use super::rest::RestClient;
use super::tfs_grpc::described;
use crate::infer::Tensor;

pub(super) struct Client {
    rest: RestClient,
    target: Target,
    /// The path of the model, with its version if the address names one.
    path: String,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        let path = target.url.rest_path("/v1/models");
        Self { rest: RestClient::new(&target.url.authority, target.settings.deadline), path, target }
    }

    /// Writes `{"signature_name": …, "instances": [row, …]}`. A row is an object with a value per input, or the bare
    /// value if there is only one input.
    fn request(&self, rows: usize, from: &[Tensor]) -> Result<Vec<u8>, CallError> {
        let mut body =
            format!("{{\"signature_name\":{},\"instances\":[", json!(self.target.url.signature)).into_bytes();
        for row in 0..rows {
            if row > 0 {
                body.push(b',');
            }
            if let [only] = from {
                write_row(&mut body, only, row)?;
                continue;
            }
            for (at, (spec, tensor)) in self.target.inputs.iter().zip(from).enumerate() {
                body.extend(format!("{}{}:", if at == 0 { "{" } else { "," }, json!(spec.name)).as_bytes());
                write_row(&mut body, tensor, row)?;
            }
            body.push(b'}');
        }
        body.extend(b"]}");
        Ok(body)
    }
}

impl Protocol for Client {
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError> {
        let answer = self.rest.get(&self.path, deadline)?;
        let statuses = answer["model_version_status"].as_array();
        let available = statuses.is_none_or(|all| all.iter().any(|status| status["state"] == "AVAILABLE"));
        // KServe's V1 protocol answers {"ready": …} instead.
        if available && answer["ready"] != false {
            return Ok(());
        }
        Err(CallError::Unavailable(format!("no version of the model is available: {answer}")))
    }

    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError> {
        let answer = match self.rest.get(&format!("{}/metadata", self.path), deadline) {
            Err(CallError::Unimplemented(_)) => return Ok(None),
            answer => answer?,
        };
        let signature = &self.target.url.signature;
        described_by(&answer, signature).map(Some).ok_or_else(|| {
            CallError::Unimplemented(format!(
                "the model has no signature \"{signature}\" (?signature=name sets another)"
            ))
        })
    }

    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError> {
        let answer = self.rest.post(&format!("{}:predict", self.path), &self.request(rows, from)?, deadline)?;
        let predictions = match answer["predictions"].as_array().map(Vec::as_slice).unwrap_or_default() {
            // By default, RapidJSON writes a NaN as nothing: the list is empty if that is the only prediction.
            [] if rows == 1 && answer["predictions"].is_array() => &[Value::Null],
            predictions => predictions,
        };
        let only = self.target.outputs.len() == 1;
        for (spec, output) in self.target.outputs.iter().zip(to) {
            // A model with one output answers with bare values, and one with several outputs with objects.
            let value = |row: &Value| match row {
                Value::Object(outputs) => outputs.get(&spec.name).cloned(),
                Value::Null => Some(Value::Null),
                bare => only.then(|| bare.clone()),
            };
            let rows_found: Option<Vec<Value>> = predictions.iter().map(value).collect();
            let rows_found = Value::Array(rows_found.ok_or_else(|| missing(spec))?);
            let shape = shape_of(&rows_found, spec);
            fill(output, spec, rows, &shape, from_json(spec, &rows_found, &shape)?)?;
        }
        Ok(())
    }
}

/// Finds a signature in the answer of `/metadata`.
fn described_by(answer: &Value, signature: &str) -> Option<Description> {
    let found = answer["metadata"]["signature_def"]["signature_def"].get(signature)?;
    let all = |which: &str| {
        let all = found[which].as_object().into_iter().flatten();
        let one = |(name, info): (&String, &Value)| {
            described(name.clone(), Err(info["dtype"].as_str().unwrap_or("no type")), sizes(&info["tensor_shape"]))
        };
        all.map(one).collect()
    };
    let version = answer["model_spec"]["version"].as_str().map(str::to_owned);
    Some(Description { versions: version.into_iter().collect(), inputs: all("inputs"), outputs: all("outputs") })
}

/// Reads `{"dim": [{"size": "-1"}, …], "unknown_rank": false}`: 64-bit integers are texts in the JSON of Protocol
/// Buffers.
fn sizes(shape: &Value) -> Option<Vec<i64>> {
    if shape["unknown_rank"] == true {
        return None;
    }
    let size = |size: &Value| size["size"].as_str().map_or_else(|| size["size"].as_i64(), |text| text.parse().ok());
    shape["dim"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer was printed by TensorFlow's own classes.
    #[test]
    fn metadata_are_those_of_tensorflow_serving() {
        let answer = json!({
            "model_spec": { "name": "half", "signature_name": "", "version": "123" },
            "metadata": { "signature_def": { "signature_def": {
                "serving_default": {
                    "inputs": {
                        "note": { "name": "n:0", "dtype": "DT_STRING", "tensor_shape": { "unknown_rank": true, "dim": [] } },
                        "x": { "name": "x:0", "dtype": "DT_FLOAT", "tensor_shape": {
                            "dim": [{ "size": "-1", "name": "" }, { "size": "6", "name": "" }], "unknown_rank": false
                        } }
                    },
                    "outputs": { "y": { "name": "y:0", "dtype": "DT_HALF", "tensor_shape": {
                        "dim": [{ "size": "-1", "name": "" }], "unknown_rank": false
                    } } },
                    "method_name": "tensorflow/serving/predict"
                }
            } } }
        });
        let found = described_by(&answer, "serving_default").unwrap();
        let shown = |all: &[super::super::check::Described]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found.versions, ["123"]);
        assert_eq!(shown(&found.inputs), ["\"note\" text […]", "\"x\" f32 [n, 6]"]);
        assert_eq!(shown(&found.outputs), ["\"y\" f16 [n]"]);
        assert_eq!(described_by(&answer, "none"), None);
    }
}
