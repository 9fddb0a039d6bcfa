//! Versions of a model in a model repository, for tests and demos.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Adds a model's file as a version of the model `name`. `model.json` is written last: a version with it is complete.
pub fn publish_version(repository: &Path, name: &str, version: u64, model: &Path) -> io::Result<()> {
    let folder = repository.join(name).join(version.to_string());
    fs::create_dir_all(&folder)?;
    let bytes = fs::read(model)?;
    fs::write(folder.join("model.onnx"), &bytes)?;
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let about = format!("{{\"name\": \"{name}\", \"version\": {version}, \"sha256\": \"{sha256}\"}}");
    fs::write(folder.join("model.json"), about)
}
