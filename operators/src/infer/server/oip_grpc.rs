//! The Open Inference Protocol, version 2, over gRPC: KServe's `grpc_predict_v2.proto`.

use std::time::Instant;

use bytes::Bytes;

use super::call::CallError;
use super::check::{Described, Description};
use super::elements::{fill, from_ints, from_raw, missing, to_raw};
use super::grpc::GrpcClient;
use super::protocol::{Protocol, Target};
use crate::infer::wire::{Malformed, Message, Value, fields};
use crate::infer::{ElementType, Elements, Tensor};

const READY: &str = "/inference.GRPCInferenceService/ModelReady";
const METADATA: &str = "/inference.GRPCInferenceService/ModelMetadata";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

pub(super) struct Client {
    grpc: GrpcClient,
    target: Target,
}

impl Client {
    pub(super) fn new(target: Target) -> Result<Self, String> {
        Ok(Self { grpc: GrpcClient::new(&target.url.authority, target.settings.deadline)?, target })
    }

    /// Begins a request with the name and version of the model, which are fields 1 and 2 of every request.
    fn named(&self) -> Message {
        let named = Message::default().text(1, &self.target.url.model);
        self.target.url.version.iter().fold(named, |message, version| message.text(2, version))
    }
}

impl Protocol for Client {
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError> {
        let answer = self.grpc.unary(READY, self.named().finish(), deadline)?;
        // ModelReadyResponse { ready = 1 }
        let ready = fields(&answer).any(|field| field == Ok((1, Value::Int(1))));
        if ready { Ok(()) } else { Err(CallError::Unavailable("the model is not ready".to_owned())) }
    }

    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError> {
        let answer = match self.grpc.unary(METADATA, self.named().finish(), deadline) {
            Err(CallError::Unimplemented(_)) => return Ok(None),
            answer => answer?,
        };
        // ModelMetadataResponse { name = 1, versions = 2, platform = 3, inputs = 4, outputs = 5 }
        let mut found = Description::default();
        for field in fields(&answer) {
            match field? {
                (2, version) => found.versions.push(version.text()?),
                (4, input) => found.inputs.push(described(input)?),
                (5, output) => found.outputs.push(described(output)?),
                _ => {}
            }
        }
        // A server that was not configured with the inputs and outputs of a model answers with empty lists.
        Ok(Some(found).filter(|found| !found.inputs.is_empty() && !found.outputs.is_empty()))
    }

    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError> {
        let answer = self.grpc.unary(INFER, self.request(rows, from), deadline)?;
        self.answer(rows, &answer, to)
    }
}

/// Reads a TensorMetadata { name = 1, datatype = 2, shape = 3 }.
fn described(value: Value<'_>) -> Result<Described, Malformed> {
    let (mut name, mut datatype, mut shape) = (String::new(), String::new(), Vec::new());
    for field in fields(value.message()?) {
        match field? {
            (1, value) => name = value.text()?,
            (2, value) => datatype = value.text()?,
            (3, value) => value.ints(&mut shape)?,
            _ => {}
        }
    }
    Ok(Described { name, element: ElementType::of_datatype(&datatype), datatype, shape: Some(shape) })
}

impl Client {
    /// Writes a ModelInferRequest { model_name = 1, model_version = 2, inputs = 5, outputs = 6, raw_input_contents = 7
    /// } of InferInputTensor { name = 1, datatype = 2, shape = 3 } and InferRequestedOutputTensor { name = 1 }.
    fn request(&self, rows: usize, from: &[Tensor]) -> Bytes {
        let mut message = self.named();
        for (spec, tensor) in self.target.inputs.iter().zip(from) {
            let shape = std::iter::once(rows).chain(tensor.shape.iter().copied()).map(|size| size as i64);
            let input = Message::default().text(1, &spec.name).text(2, spec.element.datatype()).ints(3, shape);
            message = message.message(5, input);
        }
        for spec in &self.target.outputs {
            message = message.message(6, Message::default().text(1, &spec.name));
        }
        for tensor in from {
            message = message.bytes(7, &to_raw(&tensor.elements));
        }
        message.finish()
    }

    /// Reads a ModelInferResponse { outputs = 5, raw_output_contents = 6 } of
    /// InferOutputTensor { name = 1, datatype = 2, shape = 3, contents = 5 }.
    fn answer(&self, rows: usize, answer: &[u8], to: &mut [Tensor]) -> Result<(), CallError> {
        let (mut outputs, mut raw) = (Vec::new(), Vec::new());
        for field in fields(answer) {
            match field? {
                (5, output) => outputs.push(output),
                (6, bytes) => raw.push(bytes.message()?),
                _ => {}
            }
        }
        let mut answers = Vec::new();
        for (at, output) in outputs.into_iter().enumerate() {
            let described = described(output)?;
            let elements = match (described.element, raw.get(at)) {
                (Some(element), Some(raw)) => from_raw(element, raw),
                (Some(element), None) => contents(element, output)?,
                (None, _) => None,
            };
            answers.push((described, elements));
        }
        for (spec, output) in self.target.outputs.iter().zip(to) {
            let at = answers.iter().position(|(described, _)| described.name == spec.name);
            let (described, elements) = answers.swap_remove(at.ok_or_else(|| missing(spec))?);
            let unreadable = || CallError::Failed(format!("the answer's {described} cannot be read"));
            let elements = elements.ok_or_else(unreadable)?;
            fill(output, spec, rows, described.shape.as_deref().unwrap_or_default(), elements)?;
        }
        Ok(())
    }
}

/// Reads the elements of an output that arrived as lists: InferTensorContents { bool = 1, int = 2, int64 = 3,
/// uint = 4, uint64 = 5, fp32 = 6, fp64 = 7, bytes = 8 }.
fn contents(element: ElementType, output: Value<'_>) -> Result<Option<Elements>, Malformed> {
    let (mut ints, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let lists = fields(output.message()?).filter(|field| matches!(field, Ok((5, _)) | Err(_)));
    for list in lists {
        for field in fields(list?.1.message()?) {
            match field? {
                (1..=5, values) => values.ints(&mut ints)?,
                (6 | 7, values) => values.floats(&mut floats)?,
                (8, text) => texts.push(text.text()?),
                _ => {}
            }
        }
    }
    Ok(match element {
        ElementType::F32 | ElementType::F64 => from_raw(element, &floats),
        ElementType::Text => Some(Elements::Text(texts)),
        element => from_ints(element, ints),
    })
}
