//! What `model.json` says of a version.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;

/// The file that says what a version is. It is written last, so a version with it is complete.
pub(super) const MANIFEST: &str = "model.json";

/// What `model.json` says. Other entries (`created`, `source`, `metrics`, `trained_on`) are for people.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: u64,
    /// The SHA-256 of the model's file, in hexadecimal digits.
    pub(super) sha256: String,
    #[serde(default = "usual_file")]
    pub(super) file: String,
    /// The SHA-256 of each file of external weights, by its location in the model.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
}

fn usual_file() -> String {
    "model.onnx".to_owned()
}

impl Manifest {
    /// Checks that the manifest is of this version. Returns what is wrong otherwise.
    pub(super) fn check(&self, name: &str, version: u64) -> Result<(), String> {
        if (self.name.as_str(), self.version) != (name, version) {
            let Self { name: stated, version: number, .. } = self;
            return Err(format!("it is of {stated}/{number}, and lies in the folder of {name}/{version}"));
        }
        let is_name = matches!(Path::new(&self.file).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
        if !is_name {
            return Err(format!("its file \"{}\" is not the name of a file beside it", self.file));
        }
        for hash in std::iter::once(&self.sha256).chain(self.files.values()) {
            if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(format!("\"{hash}\" is no SHA-256, which has 64 hexadecimal digits"));
            }
        }
        Ok(())
    }
}
