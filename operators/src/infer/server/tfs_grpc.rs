//! TensorFlow Serving over gRPC: `Predict`, `GetModelMetadata`, `GetModelStatus`.

use std::time::Instant;

use bytes::Bytes;

use super::call::CallError;
use super::check::{Described, Description};
use super::elements::{fill, from_ints, from_raw, missing, to_raw};
use super::grpc::GrpcClient;
use super::protocol::{Protocol, Target};
use crate::infer::wire::{Malformed, Message, Value, fields};
use crate::infer::{ElementType, Elements, Tensor};

const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";
const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
/// The number of the state in `ModelVersionStatus.State`.
const AVAILABLE: i64 = 30;

/// The types of `DataType`: number, name, and the name of the same type in the Open Inference Protocol.
const TYPES: [(i64, &str, &str); 14] = [
    (1, "DT_FLOAT", "FP32"),
    (2, "DT_DOUBLE", "FP64"),
    (3, "DT_INT32", "INT32"),
    (4, "DT_UINT8", "UINT8"),
    (5, "DT_INT16", "INT16"),
    (6, "DT_INT8", "INT8"),
    (7, "DT_STRING", "BYTES"),
    (9, "DT_INT64", "INT64"),
    (10, "DT_BOOL", "BOOL"),
    (14, "DT_BFLOAT16", "BF16"),
    (17, "DT_UINT16", "UINT16"),
    (19, "DT_HALF", "FP16"),
    (22, "DT_UINT32", "UINT32"),
    (23, "DT_UINT64", "UINT64"),
];

fn number(element: ElementType) -> i64 {
    // The table has every element type, so 0 (DT_INVALID) is never sent.
    TYPES.into_iter().find(|(_, _, datatype)| *datatype == element.datatype()).map_or(0, |(number, ..)| number)
}

/// Describes an input or output whose type is given by its number or by its name.
pub(super) fn described(name: String, dtype: Result<i64, &str>, shape: Option<Vec<i64>>) -> Described {
    let known = TYPES.into_iter().find(|(number, name, _)| dtype.map_or_else(|text| text == *name, |n| n == *number));
    let element = known.and_then(|(_, _, datatype)| ElementType::of_datatype(datatype));
    let datatype = dtype.map_or_else(str::to_owned, |number| format!("type {number}"));
    Described { name, element, datatype: known.map_or(datatype, |(_, name, _)| name.to_owned()), shape }
}

pub(super) struct Client {
    grpc: GrpcClient,
    target: Target,
}

impl Client {
    pub(super) fn new(target: Target) -> Result<Self, String> {
        Ok(Self { grpc: GrpcClient::new(&target.url.authority, target.settings.deadline)?, target })
    }

    /// Begins a request with its field 1, a ModelSpec { name = 1, version = 2 (Int64Value { value = 1 }),
    /// signature_name = 3 }.
    fn named(&self, with_signature: bool) -> Message {
        let mut spec = Message::default().text(1, &self.target.url.model);
        if let Some(version) = self.target.url.version.as_ref().and_then(|version| version.parse().ok()) {
            spec = spec.message(2, Message::default().int(1, version));
        }
        if with_signature {
            spec = spec.text(3, &self.target.url.signature);
        }
        Message::default().message(1, spec)
    }
}

impl Protocol for Client {
    fn ready(&mut self, deadline: Instant) -> Result<(), CallError> {
        let answer = match self.grpc.unary(STATUS, self.named(false).finish(), deadline) {
            // The server answers; it merely does not implement this call.
            Err(CallError::Unimplemented(_)) => return Ok(()),
            answer => answer?,
        };
        if is_available(&answer)? {
            return Ok(());
        }
        Err(CallError::Unavailable("no version of the model is available".to_owned()))
    }

    fn describe(&mut self, deadline: Instant) -> Result<Option<Description>, CallError> {
        // GetModelMetadataRequest { model_spec = 1, metadata_field = 2 }
        let request = self.named(false).text(2, "signature_def").finish();
        let answer = match self.grpc.unary(METADATA, request, deadline) {
            Err(CallError::Unimplemented(_)) => return Ok(None),
            answer => answer?,
        };
        let signature = &self.target.url.signature;
        signature_of(&answer, signature)?.map(Some).ok_or_else(|| {
            CallError::Unimplemented(format!(
                "the model has no signature \"{signature}\" (?signature=name sets another)"
            ))
        })
    }

    fn infer(&mut self, rows: usize, from: &[Tensor], to: &mut [Tensor], deadline: Instant) -> Result<(), CallError> {
        let answer = self.grpc.unary(PREDICT, self.request(rows, from), deadline)?;
        // PredictResponse { outputs = 1 }
        let mut answers = Vec::new();
        for field in fields(&answer) {
            if let (1, output) = field? {
                let (name, tensor) = output.entry()?;
                answers.push((name, read(tensor)?));
            }
        }
        for (spec, output) in self.target.outputs.iter().zip(to) {
            let at = answers.iter().position(|(name, _)| *name == spec.name).ok_or_else(|| missing(spec))?;
            let (_, (shape, elements)) = answers.swap_remove(at);
            let unreadable = || CallError::Failed(format!("the answer's \"{}\" is of an unknown type", spec.name));
            fill(output, spec, rows, &shape, elements.ok_or_else(unreadable)?)?;
        }
        Ok(())
    }
}

impl Client {
    /// Writes a PredictRequest { model_spec = 1, inputs = 2, output_filter = 3 } of TensorProto { dtype = 1,
    /// tensor_shape = 2, tensor_content = 4, string_val = 8 } and TensorShapeProto { dim = 2 { size = 1 } }.
    fn request(&self, rows: usize, from: &[Tensor]) -> Bytes {
        let mut message = self.named(true);
        for (spec, tensor) in self.target.inputs.iter().zip(from) {
            let sizes = std::iter::once(rows).chain(tensor.shape.iter().copied());
            let shape =
                sizes.fold(Message::default(), |shape, size| shape.message(2, Message::default().int(1, size as i64)));
            let proto = Message::default().int(1, number(spec.element)).message(2, shape);
            let proto = match &tensor.elements {
                Elements::Text(texts) => texts.iter().fold(proto, |proto, text| proto.text(8, text)),
                numbers => proto.bytes(4, &to_raw(numbers)),
            };
            message = message.entry(2, &spec.name, proto);
        }
        self.target.outputs.iter().fold(message, |message, spec| message.text(3, &spec.name)).finish()
    }
}

/// Reads a GetModelStatusResponse { model_version_status = 1 { version = 1, state = 2 } }.
fn is_available(answer: &[u8]) -> Result<bool, Malformed> {
    for status in fields(answer) {
        let status = status?.1.message()?;
        if fields(status).any(|field| field == Ok((2, Value::Int(AVAILABLE.cast_unsigned())))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the sizes of a TensorShapeProto { dim = 2 { size = 1 }, unknown_rank = 3 }; none if their number is unknown.
fn shape_of(shape: &[u8]) -> Result<Option<Vec<i64>>, Malformed> {
    let mut sizes = Vec::new();
    for field in fields(shape) {
        match field? {
            (2, dimension) => {
                let mut size = 0;
                for field in fields(dimension.message()?) {
                    if let (1, value) = field? {
                        size = value.int()?;
                    }
                }
                sizes.push(size);
            }
            (3, Value::Int(1)) => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(sizes))
}

/// Reads the shape and elements of a TensorProto { dtype = 1, tensor_shape = 2, tensor_content = 4, float_val = 5,
/// double_val = 6, int_val = 7, string_val = 8, int64_val = 10, bool_val = 11, half_val = 13, uint32_val = 16,
/// uint64_val = 17 }. If a list is shorter than the shape, its last value stands for the missing ones.
fn read(tensor: &[u8]) -> Result<(Vec<i64>, Option<Elements>), Malformed> {
    let (mut dtype, mut shape, mut raw) = (0, Vec::new(), Vec::new());
    let (mut ints, mut texts) = (Vec::new(), Vec::new());
    for field in fields(tensor) {
        match field? {
            (1, value) => dtype = value.int()?,
            (2, value) => shape = shape_of(value.message()?)?.unwrap_or_default(),
            (4, value) => raw = value.message()?.to_vec(),
            (5 | 6, values) => values.floats(&mut raw)?,
            (7 | 10 | 11 | 13 | 16 | 17, values) => values.ints(&mut ints)?,
            (8, text) => texts.push(text.text()?),
            _ => {}
        }
    }
    let known = TYPES.into_iter().find(|(number, ..)| *number == dtype);
    let Some(element) = known.and_then(|(_, _, datatype)| ElementType::of_datatype(datatype)) else {
        return Ok((shape, None));
    };
    let mut elements = match element {
        ElementType::Text => Some(Elements::Text(texts)),
        element if !ints.is_empty() => from_ints(element, ints),
        element => from_raw(element, &raw),
    };
    // The shape comes from the server and is compared with the program's only later, so the allocation is bounded.
    let wanted = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(usize::try_from(*size).ok()?));
    if let (Some(elements), Some(wanted @ ..=MOST)) = (&mut elements, wanted) {
        elements.repeat_last(wanted);
    }
    Ok((shape, elements))
}

/// Maximum number of elements that a short list is extended to.
const MOST: usize = 1 << 26;

/// Finds a signature in a GetModelMetadataResponse { model_spec = 1 { version = 2 }, metadata = 2 { "signature_def":
/// Any { value = 2 } } } of SignatureDefMap { signature_def = 1 }, SignatureDef { inputs = 1, outputs = 2 } and
/// TensorInfo { dtype = 2, tensor_shape = 3 }.
fn signature_of(answer: &[u8], signature: &str) -> Result<Option<Description>, Malformed> {
    let (mut found, mut versions) = (None, Vec::new());
    for field in fields(answer) {
        match field? {
            (1, spec) => {
                for field in fields(spec.message()?) {
                    if let (2, version) = field? {
                        let number = fields(version.message()?).find_map(|field| match field {
                            Ok((1, number)) => number.int().ok(),
                            _ => None,
                        });
                        versions.extend(number.map(|number| number.to_string()));
                    }
                }
            }
            (2, metadata) => {
                let (name, any) = metadata.entry()?;
                for field in fields(any).filter(|_| name == "signature_def") {
                    let (2, map) = field? else { continue };
                    for entry in fields(map.message()?) {
                        let (1, entry) = entry? else { continue };
                        let (name, definition) = entry.entry()?;
                        if name == signature {
                            found = Some(definition);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let Some(definition) = found else { return Ok(None) };
    let mut description = Description { versions, ..Description::default() };
    for field in fields(definition) {
        match field? {
            (1, input) => description.inputs.push(tensor_info(input)?),
            (2, output) => description.outputs.push(tensor_info(output)?),
            _ => {}
        }
    }
    Ok(Some(description))
}

fn tensor_info(entry: Value<'_>) -> Result<Described, Malformed> {
    let (name, info) = entry.entry()?;
    let (mut dtype, mut shape) = (0, None);
    for field in fields(info) {
        match field? {
            (2, value) => dtype = value.int()?,
            (3, value) => shape = shape_of(value.message()?)?,
            _ => {}
        }
    }
    Ok(described(name, Ok(dtype), shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// The messages were serialized by TensorFlow's own classes.
    #[test]
    fn metadata_and_status_are_those_of_tensorflow_serving() {
        let answer = bytes(concat!(
            "0a0a0a0468616c661202087b12e6010a0d7369676e61747572655f64656612d4010a36747970652e676f6f676c65617069732e63",
            "6f6d2f74656e736f72666c6f772e73657276696e672e5369676e61747572654465664d61701299010a120a056f7468657212090a",
            "070a017a120210020a82010a0f73657276696e675f64656661756c74126f0a1f0a0178121a0a03783a3010011a11120b08ffffff",
            "ffffffffffff01120208060a130a046e6f7465120b0a036e3a3010071a021801121b0a017912160a03793a3010091a0d120b08ff",
            "ffffffffffffffff011a1a74656e736f72666c6f772f73657276696e672f70726564696374"
        ));
        let found = signature_of(&answer, "serving_default").unwrap().unwrap();
        let shown = |all: &[Described]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found.versions, ["123"]);
        assert_eq!(shown(&found.inputs), ["\"x\" f32 [n, 6]", "\"note\" text […]"]);
        assert_eq!(shown(&found.outputs), ["\"y\" i64 [n]"]);
        assert_eq!(signature_of(&answer, "none"), Ok(None));
        for end in 0..answer.len() {
            // A message that is cut off anywhere is rejected or has fewer fields; it never causes a panic.
            drop(signature_of(&answer[..end], "serving_default"));
        }
        assert_eq!(is_available(&bytes("0a04080110320a040802101e")), Ok(true));
        assert_eq!(is_available(&bytes("0a0408011032")), Ok(false));
    }

    #[test]
    fn lists_are_read_in_every_form() {
        let shape = || Message::default().message(2, Message::default().int(1, 3));
        let proto = |dtype| Message::default().int(1, dtype).message(2, shape());
        let read = |message: Message| read(&message.finish()).unwrap();
        let floats = [1.5_f32, 2.5].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(read(proto(1).bytes(5, &floats)), (vec![3], Some(Elements::F32(vec![1.5, 2.5, 2.5]))));
        assert_eq!(read(proto(3).ints(7, [4, -5, 6])), (vec![3], Some(Elements::I32(vec![4, -5, 6]))));
        assert_eq!(read(proto(10).int(11, 1)), (vec![3], Some(Elements::Bool(vec![true; 3]))));
        let texts = proto(7).text(8, "a").text(8, "b").text(8, "");
        assert_eq!(read(texts), (vec![3], Some(Elements::Text(vec!["a".into(), "b".into(), String::new()]))));
        let halves = [half::f16::ONE, half::f16::NAN].map(|half| i64::from(half.to_bits()));
        let (_, Some(Elements::F16(found))) = read(proto(19).ints(13, halves)) else { panic!() };
        assert!(found[0] == half::f16::ONE && found[1].is_nan() && found[2].is_nan());
        assert_eq!(read(proto(23).ints(17, [-1])), (vec![3], Some(Elements::U64(vec![u64::MAX; 3]))));
        assert_eq!(read(proto(8)), (vec![3], None));
    }
}
