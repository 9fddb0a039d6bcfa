//! The Open Inference Protocol, version 2, over REST.

use std::time::Instant;

use serde_json::{Value, json};

use super::call::CallError;
use super::check::{Described, Description};
use super::elements::{fill, missing};
use super::json::{from_json, write_flat};
use super::protocol::{Protocol, Target};
use super::rest::RestClient;
use crate::infer::{ElementType, Tensor};

pub(super) struct Client {
    rest: RestClient,
    target: Target,
    /// The path of the model, with its version if the address names one.
    path: String,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        let path = target.url.rest_path("/v2/models");
        Self { rest: RestClient::new(&target.url.authority, target.settings.deadline), path, target }
    }

    /// Returns the body of the request. It is not built with `serde_json`, which would allocate a value per number.
    fn request(&self, rows: usize, from: &[Tensor]) -> Result<Vec<u8>, CallError> {
        let mut body = b"{\"inputs\":[".to_vec();
        for (at, (spec, tensor)) in self.target.inputs.iter().zip(from).enumerate() {
            let shape: Vec<usize> = std::iter::once(rows).chain(tensor.shape.iter().copied()).collect();
            let comma = if at == 0 { "" } else { "," };
            let (name, datatype) = (json!(spec.name), spec.element.datatype());
            let head =
                format!("{comma}{{\"name\":{name},\"datatype\":\"{datatype}\",\"shape\":{},\"data\":", json!(shape));
            body.extend(head.as_bytes());
            write_flat(&mut body, &tensor.elements)?;
            body.push(b'}');
        }
        let outputs: Vec<Value> = self.target.outputs.iter().map(|spec| json!({ "name": spec.name })).collect();
        body.extend(format!("],\"outputs\":{}}}", json!(outputs)).as_bytes());
        Ok(body)
    }
}

impl Protocol for Client {
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError> {
        let answer = self.rest.get(&format!("{}/ready", self.path), deadline)?;
        // The protocol defines an empty answer; some servers send {"ready": …}.
        match answer.get("ready") {
            Some(Value::Bool(false)) => Err(CallError::Unavailable("the model is not ready".to_owned())),
            _ => Ok(()),
        }
    }

    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError> {
        let answer = match self.rest.get(&self.path, deadline) {
            Err(CallError::Unimplemented(_)) => return Ok(None),
            answer => answer?,
        };
        let all =
            |which: &str| answer[which].as_array().into_iter().flatten().map(described).collect::<Option<Vec<_>>>();
        let (Some(inputs), Some(outputs)) = (all("inputs"), all("outputs")) else {
            return Err(CallError::Failed(format!("the metadata cannot be read: {answer}")));
        };
        let versions = answer["versions"].as_array().into_iter().flatten();
        let versions = versions.filter_map(|version| version.as_str().map(str::to_owned)).collect();
        // A server that was not configured with the inputs and outputs of a model answers with empty lists.
        Ok((!inputs.is_empty() && !outputs.is_empty()).then_some(Description { versions, inputs, outputs }))
    }

    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError> {
        let answer = self.rest.post(&format!("{}/infer", self.path), &self.request(rows, from)?, deadline)?;
        let outputs = answer["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (spec, output) in self.target.outputs.iter().zip(to) {
            let found = outputs.iter().find(|output| output["name"] == spec.name.as_str());
            let found = found.ok_or_else(|| missing(spec))?;
            let shape: Option<Vec<i64>> =
                found["shape"].as_array().and_then(|sizes| sizes.iter().map(Value::as_i64).collect());
            let shape =
                shape.ok_or_else(|| CallError::Failed(format!("the answer's \"{}\" has no shape", spec.name)))?;
            fill(output, spec, rows, &shape, from_json(spec, &found["data"], &shape)?)?;
        }
        Ok(())
    }
}

fn described(tensor: &Value) -> Option<Described> {
    let shape = tensor["shape"].as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
    let (name, datatype) = (tensor["name"].as_str()?.to_owned(), tensor["datatype"].as_str()?.to_owned());
    Some(Described { name, element: ElementType::of_datatype(&datatype), datatype, shape: Some(shape) })
}
