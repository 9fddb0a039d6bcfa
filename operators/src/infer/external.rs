//! Weights that an ONNX model stores in other files: which files these are, and whether they have changed.
//!
//! A tensor of a model names a file and an offset in it (`external_data`). All such tensors are found: initializers and
//! constants, including those in branches, loops and functions. Invariant: a session is created only from the files
//! that went into the hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::ModelError;
use super::wire::{Malformed, Value, fields};

/// Maximum nesting of graphs in attributes of nodes. A file that nests deeper is not a model.
const DEEPEST: usize = 32;

/// The files, in the order in which the model names them first; empty for most models.
#[derive(Debug, Default)]
pub(super) struct Weights {
    files: Vec<(PathBuf, Stamp)>,
}

/// The metadata that shows whether a file is still the one that was read.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Self { device: found.dev(), inode: found.ino(), len: found.len(), modified })
    }
}

impl Weights {
    /// Finds the files of the model `bytes`, which lies at `path`, and adds names and contents to its hash.
    pub(super) fn find(path: &Path, bytes: &[u8], hash: &mut Sha256) -> Result<Self, ModelError> {
        // ONNX Runtime refuses a file that is not a model, and says why.
        let locations = locations(bytes).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut weights = Self::default();
        if !locations.is_empty() {
            weights.files.push((path.to_owned(), stamp(path, path)?));
        }
        for location in locations {
            let file = folder.join(&location);
            if !is_inside(&location) {
                let source = io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "only files in the model's folder and below are read: a model may come from anyone",
                );
                return Err(ModelError::Weights { path: path.to_owned(), file: location.into(), source });
            }
            weights.files.push((file.clone(), stamp(path, &file)?));
            hash.update(location.as_bytes());
            let read = File::open(&file).and_then(|mut from| io::copy(&mut from, hash));
            let bytes = read.map_err(|source| ModelError::Weights { path: path.to_owned(), file, source })?;
            hash.update(bytes.to_le_bytes());
        }
        Ok(weights)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Calls `on` with the location in the model and the path of each file of weights.
    pub(super) fn each(&self, mut on: impl FnMut(&str, &Path) -> Result<(), ModelError>) -> Result<(), ModelError> {
        let Some(((model, _), weights)) = self.files.split_first() else { return Ok(()) };
        let folder = model.parent().unwrap_or(Path::new(""));
        weights.iter().try_for_each(|(file, _)| {
            let location = file.strip_prefix(folder).unwrap_or(file);
            on(&location.to_string_lossy(), file)
        })
    }

    /// Checks that the model and its weights are still the files that were read.
    pub(super) fn check(&self, path: &Path) -> Result<(), ModelError> {
        for (file, before) in &self.files {
            if stamp(path, file)? != *before {
                let reason = format!(
                    "\"{}\" has changed since the job read it: start the job anew, and replace models as a whole, under \
                     another name",
                    file.display()
                );
                return Err(ModelError::Unusable { model: path.display().to_string(), reason });
            }
        }
        Ok(())
    }
}

fn stamp(path: &Path, file: &Path) -> Result<Stamp, ModelError> {
    Stamp::of(file).map_err(|source| ModelError::Weights { path: path.to_owned(), file: file.to_owned(), source })
}

/// Returns whether a location leads to a file in the model's folder or below.
fn is_inside(location: &str) -> bool {
    let path = Path::new(location);
    path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Returns the locations that the tensors of a ModelProto { graph = 7, functions = 25 } name, each once.
fn locations(model: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut found = Vec::new();
    for field in fields(model) {
        match field? {
            (7, graph) => graph_of(graph, &mut found, 0)?,
            // FunctionProto { node = 7 }
            (25, function) => {
                for field in fields(function.message()?) {
                    if let (7, node) = field? {
                        node_of(node, &mut found, 0)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Adds the locations in a GraphProto { node = 1, initializer = 5, sparse_initializer = 15 }.
fn graph_of(graph: Value<'_>, found: &mut Vec<String>, depth: usize) -> Result<(), Malformed> {
    if depth > DEEPEST {
        return Ok(());
    }
    for field in fields(graph.message()?) {
        match field? {
            (1, node) => node_of(node, found, depth + 1)?,
            (5, tensor) => tensor_of(tensor, found)?,
            (15, tensor) => sparse_of(tensor, found)?,
            _ => {}
        }
    }
    Ok(())
}

/// Adds the locations in a NodeProto { attribute = 5 } of AttributeProto { t = 5, g = 6, tensors = 10, graphs = 11,
/// sparse_tensor = 22, sparse_tensors = 23 }.
fn node_of(node: Value<'_>, found: &mut Vec<String>, depth: usize) -> Result<(), Malformed> {
    for attribute in fields(node.message()?) {
        let (5, attribute) = attribute? else { continue };
        for field in fields(attribute.message()?) {
            match field? {
                (5 | 10, tensor) => tensor_of(tensor, found)?,
                (6 | 11, graph) => graph_of(graph, found, depth)?,
                (22 | 23, tensor) => sparse_of(tensor, found)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Adds the locations in a SparseTensorProto { values = 1, indices = 2 }.
fn sparse_of(tensor: Value<'_>, found: &mut Vec<String>) -> Result<(), Malformed> {
    for field in fields(tensor.message()?) {
        if let (1 | 2, tensor) = field? {
            tensor_of(tensor, found)?;
        }
    }
    Ok(())
}

/// Adds the location in a TensorProto { external_data = 13 { key = 1, value = 2 }, data_location = 14 (EXTERNAL = 1) }.
fn tensor_of(tensor: Value<'_>, found: &mut Vec<String>) -> Result<(), Malformed> {
    let (mut location, mut is_external) = (None, false);
    for field in fields(tensor.message()?) {
        match field? {
            (13, entry) => {
                let (key, value) = entry.text_entry()?;
                if key == "location" {
                    location = Some(value);
                }
            }
            (14, Value::Int(1)) => is_external = true,
            _ => {}
        }
    }
    found.extend(location.filter(|location| is_external && !found.contains(location)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::wire::Message;

    fn tensor(location: &str) -> Message {
        let entry = |key: &str, value: &str| Message::default().text(1, key).text(2, value);
        let tensor = Message::default().message(13, entry("location", location)).message(13, entry("offset", "8"));
        tensor.int(14, 1)
    }

    fn node(attribute: Message) -> Message {
        Message::default().text(4, "If").message(5, attribute)
    }

    #[test]
    fn files_are_found_wherever_tensors_are() {
        let inner = Message::default().message(5, tensor("in a branch"));
        let sparse = Message::default().message(1, tensor("values")).message(2, tensor("indices"));
        let graph = Message::default()
            .message(5, tensor("first"))
            .message(1, node(Message::default().message(6, inner)))
            .message(1, node(Message::default().message(5, tensor("a constant"))))
            .message(5, tensor("first"))
            .message(15, sparse)
            .message(5, Message::default().text(8, "inside").int(1, 2));
        let function = Message::default().message(7, node(Message::default().message(10, tensor("in a function"))));
        let model = Message::default().int(1, 9).message(7, graph).message(25, function).finish();
        let wanted = ["first", "in a branch", "a constant", "values", "indices", "in a function"];
        assert_eq!(locations(&model).unwrap(), wanted);
        for end in 0..model.len() {
            // A file that is cut off anywhere is rejected or has fewer fields; it never causes a panic.
            drop(locations(&model[..end]));
        }
    }

    #[test]
    fn no_file_outside_the_folder_is_read() {
        for (location, inside) in [
            ("model.data", true),
            ("./parts/model.data", true),
            ("../model.data", false),
            ("parts/../../x", false),
            ("/etc/passwd", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(is_inside(location), inside, "{location}");
        }
        let model = |location| Message::default().message(7, Message::default().message(5, tensor(location))).finish();
        let refused = Weights::find(Path::new("a/model.onnx"), &model("../x"), &mut Sha256::new());
        assert!(matches!(refused, Err(ModelError::Weights { .. })), "{refused:?}");
    }
}
