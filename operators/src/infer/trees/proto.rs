//! The parts of an ONNX file that a graph of trees needs: nodes with their attributes, constants, inputs and outputs.
//!
//! Anything unusual (weights in other files, functions, sparse constants, a field of another type) is an error, which
//! leaves the model to ONNX Runtime.

use std::collections::HashMap;

use super::super::element::ElementType;
use super::super::wire::{Malformed, Value, fields};
use super::scalar::Scalar;

/// The model's graph and metadata.
#[derive(Default)]
pub(super) struct Proto<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) constants: HashMap<String, Constant>,
    pub(super) inputs: Vec<Outlet>,
    pub(super) outputs: Vec<Outlet>,
    pub(super) metadata: HashMap<String, String>,
}

/// An operation of the graph.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub(super) op: String,
    pub(super) domain: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: HashMap<String, &'a [u8]>,
}

/// A constant tensor of a type that is used around trees.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) rank: usize,
    pub(super) values: Vec<Scalar>,
}

/// A declared input or output.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) name: String,
    /// The element type and the dimensions, for a tensor of a known type; `None` for a dimension of variable size.
    pub(super) tensor: Option<TensorType>,
}

type TensorType = (ElementType, Vec<Option<usize>>);

/// The numbers of ONNX's element types.
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const STRING: u64 = 8;

impl<'a> Proto<'a> {
    /// Reads a ModelProto { graph = 7, metadata_props = 14, functions = 25 }.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut model = Self::default();
        for field in fields(bytes) {
            match field? {
                (7, graph) => model.graph(graph.message()?)?,
                (14, entry) => {
                    let (key, value) = entry.text_entry()?;
                    model.metadata.insert(key, value);
                }
                (25, _) => return Err(Malformed("the model has functions")),
                _ => {}
            }
        }
        // Old models list their constants among the inputs.
        model.inputs.retain(|input| !model.constants.contains_key(&input.name));
        Ok(model)
    }

    /// Reads a GraphProto { node = 1, initializer = 5, input = 11, output = 12, sparse_initializer = 15 }.
    fn graph(&mut self, graph: &'a [u8]) -> Result<(), Malformed> {
        for field in fields(graph) {
            match field? {
                (1, node) => self.nodes.push(Node::read(node.message()?)?),
                (5, tensor) => {
                    let (name, constant) = Constant::read(tensor.message()?)?;
                    // A constant of another type matters only where it is used, and is not known there.
                    if let Some(constant) = constant {
                        self.constants.insert(name, constant);
                    }
                }
                (11, input) => self.inputs.push(Outlet::read(input.message()?)?),
                (12, output) => self.outputs.push(Outlet::read(output.message()?)?),
                (15, _) => return Err(Malformed("the model has sparse constants")),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Node<'a> {
    /// Reads a NodeProto { input = 1, output = 2, op_type = 4, attribute = 5, domain = 7 }.
    fn read(node: &'a [u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in fields(node) {
            match field? {
                (1, name) => read.inputs.push(name.text()?),
                (2, name) => read.outputs.push(name.text()?),
                (4, op) => read.op = op.text()?,
                (5, attribute) => {
                    let attribute = attribute.message()?;
                    let name = fields(attribute).find_map(|field| field.ok().filter(|(number, _)| *number == 1));
                    let name = name.map(|(_, name)| name.text()).transpose()?.unwrap_or_default();
                    read.attributes.insert(name, attribute);
                }
                (7, domain) => read.domain = domain.text()?,
                _ => {}
            }
        }
        Ok(read)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// Calls `read` with each field `number` of the attribute.
    fn each(
        &self,
        name: &str,
        number: u64,
        mut read: impl FnMut(Value<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(attribute) = self.attributes.get(name) else { return Ok(()) };
        fields(attribute).try_for_each(|field| match field? {
            (found, value) if found == number => read(value),
            _ => Ok(()),
        })
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Malformed> {
        let mut found = None;
        self.each(name, 3, |value| value.int().map(|value| found = Some(value)))?;
        Ok(found)
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Malformed> {
        let mut bytes = Vec::new();
        self.each(name, 2, |value| value.floats(&mut bytes))?;
        Ok(f32s(&bytes).pop())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Malformed> {
        let mut found = None;
        self.each(name, 4, |value| value.text().map(|value| found = Some(value)))?;
        Ok(found)
    }

    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, Malformed> {
        let mut found = Vec::new();
        self.each(name, 8, |value| value.ints(&mut found))?;
        Ok(found)
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>, Malformed> {
        let mut bytes = Vec::new();
        self.each(name, 7, |value| value.floats(&mut bytes))?;
        Ok(f32s(&bytes))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Malformed> {
        let mut found = Vec::new();
        self.each(name, 9, |value| value.text().map(|value| found.push(value)))?;
        Ok(found)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Constant>, Malformed> {
        let mut found = None;
        self.each(name, 5, |value| Constant::read(value.message()?).map(|(_, constant)| found = constant))?;
        Ok(found)
    }
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

impl Constant {
    /// Reads a TensorProto { dims = 1, data_type = 2, float_data = 4, int32_data = 5, int64_data = 7, name = 8,
    /// raw_data = 9, data_location = 14 }. Returns no constant where its type is not used around trees.
    fn read(tensor: &[u8]) -> Result<(String, Option<Self>), Malformed> {
        let (mut dims, mut data_type, mut name) = (Vec::new(), 0, String::new());
        let (mut floats, mut ints, mut raw) = (Vec::new(), Vec::new(), None);
        for field in fields(tensor) {
            match field? {
                (1, sizes) => sizes.ints(&mut dims)?,
                (2, Value::Int(found)) => data_type = found,
                (4, values) => values.floats(&mut floats)?,
                (5 | 7, values) => values.ints(&mut ints)?,
                (8, text) => name = text.text()?,
                (9, bytes) => raw = Some(bytes.message()?),
                (14, Value::Int(1)) => return Err(Malformed("weights are in another file")),
                _ => {}
            }
        }
        let values: Vec<Scalar> = match (data_type, raw) {
            (FLOAT, raw) => f32s(raw.unwrap_or(&floats)).into_iter().map(Scalar::F32).collect(),
            (INT64, None) => ints.into_iter().map(Scalar::I64).collect(),
            (INT64, Some(raw)) => {
                raw.as_chunks().0.iter().map(|bytes| Scalar::I64(i64::from_le_bytes(*bytes))).collect()
            }
            _ => return Ok((name, None)),
        };
        let len = dims.iter().try_fold(1_i64, |len, size| len.checked_mul(*size));
        if len != i64::try_from(values.len()).ok() {
            return Err(Malformed("a constant has another size than its shape"));
        }
        Ok((name, Some(Self { rank: dims.len(), values })))
    }
}

impl Outlet {
    /// Reads a ValueInfoProto { name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value =
    /// 1 } } } } }.
    fn read(outlet: &[u8]) -> Result<Self, Malformed> {
        let (mut name, mut tensor) = (String::new(), None);
        for field in fields(outlet) {
            match field? {
                (1, text) => name = text.text()?,
                (2, kind) => {
                    for field in fields(kind.message()?) {
                        if let (1, found) = field? {
                            tensor = tensor_type(found.message()?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self { name, tensor })
    }
}

fn tensor_type(tensor: &[u8]) -> Result<Option<TensorType>, Malformed> {
    let (mut element, mut sizes) = (None, None);
    for field in fields(tensor) {
        match field? {
            (1, Value::Int(FLOAT)) => element = Some(ElementType::F32),
            (1, Value::Int(INT64)) => element = Some(ElementType::I64),
            (1, Value::Int(STRING)) => element = Some(ElementType::Text),
            (2, shape) => {
                let mut dims = Vec::new();
                for dim in fields(shape.message()?) {
                    let (1, dim) = dim? else { continue };
                    let mut size = None;
                    for field in fields(dim.message()?) {
                        if let (1, value) = field? {
                            size = usize::try_from(value.int()?).ok().filter(|size| *size > 0);
                        }
                    }
                    dims.push(size);
                }
                sizes = Some(dims);
            }
            _ => {}
        }
    }
    Ok(element.zip(sizes))
}
