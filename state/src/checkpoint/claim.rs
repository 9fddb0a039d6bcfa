//! Claims: a start claims a number in `manifests/` by a file, so that no earlier start can commit an epoch of that
//! number.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::json;
use super::manifest::{self, Manifest};
use super::store::CheckpointStore;
use crate::error::StateError;

/// The start of a job, as described in its claims.
#[derive(Clone, Copy, Debug)]
pub struct Starter<'a> {
    /// Name of the job.
    pub job: &'a str,
    /// Number of key groups of the job.
    pub key_groups: u16,
    /// Random number that identifies this start.
    pub incarnation: u64,
    /// Time of the start, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// A file in `manifests/`, identified by its number and contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Number of the file.
    pub number: u64,
    /// SHA-256 of the file's bytes, in hexadecimal digits.
    pub sha256: String,
}

/// The contents of a claim's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    pub(super) format_version: u32,
    /// The claimed number: no run commits an epoch of this number any more.
    pub(super) claim: u64,
    pub(super) incarnation: u64,
    pub(super) created_ms: i64,
    /// Whether the start discards the checkpoints between `of` and this number.
    pub(super) gives_up: bool,
    /// Copy of the manifest that the start continues from.
    pub(super) of: Manifest,
}

impl Claim {
    const FORMAT_VERSION: u32 = 1;

    pub(super) fn new(starter: &Starter<'_>, claim: u64, of: Option<Manifest>) -> Self {
        let (incarnation, created_ms) = (starter.incarnation, starter.now_ms);
        let of = of.unwrap_or_else(|| nothing(starter));
        Self { format_version: Self::FORMAT_VERSION, claim, incarnation, created_ms, gives_up: false, of }
    }

    fn encode(&self) -> Result<Vec<u8>, StateError> {
        json::encode(self).map(String::into_bytes)
    }

    /// Creates the claim's file.
    pub(super) fn put(&self, store: &dyn CheckpointStore) -> Result<ManifestFile, StateError> {
        let bytes = self.encode()?;
        let file = Manifest::file(self.claim);
        store.put_new(&file, &bytes).map_err(|error| error.by(|file| describe(store, file), &file))?;
        Ok(ManifestFile { number: self.claim, sha256: sha256(&bytes) })
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the claim in a file of `manifests/`, or `None` if the file is not a claim. A damaged claim is an error.
pub(super) fn claim_in(bytes: &[u8]) -> Option<Result<Claim, String>> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.get("claim")?;
    let version = value.get("format_version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(Claim::FORMAT_VERSION)) {
        let found = version.map_or("none".to_owned(), |v| v.to_string());
        return Some(Err(format!("its format version is {found}, this build reads {}", Claim::FORMAT_VERSION)));
    }
    if let Some(Err(reason)) = value.as_object_mut().map(json::verify) {
        return Some(Err(reason));
    }
    Some(serde_json::from_value(value).map_err(|e| format!("it is not the claim of a start: {e}")))
}

/// Describes the run that created a file of `manifests/`, for the error of a run that finds the number taken.
pub(super) fn describe(store: &dyn CheckpointStore, file: &str) -> String {
    let at = |ms: i64| {
        let since = u64::try_from(ms).ok().map(std::time::Duration::from_millis);
        let at = since.and_then(|since| std::time::UNIX_EPOCH.checked_add(since));
        at.map_or("an unknown time".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
    };
    let Ok(bytes) = store.get(file) else { return "of which nothing is there any more".to_owned() };
    match (claim_in(&bytes), manifest::decode(&bytes)) {
        (Some(Ok(claim)), _) => format!("started at {}", at(claim.created_ms)),
        (_, Ok(manifest)) => format!("which committed this epoch at {}", at(manifest.created_ms)),
        _ => "whose file cannot be read".to_owned(),
    }
}

/// Returns the manifest in the claim of a start that found no checkpoint.
pub(crate) fn nothing(starter: &Starter<'_>) -> Manifest {
    Manifest {
        format_version: Manifest::FORMAT_VERSION,
        job: starter.job.to_owned(),
        epoch: 0,
        incarnation: starter.incarnation,
        created_ms: starter.now_ms,
        key_groups: starter.key_groups,
        states: Vec::new(),
        workers: Vec::new(),
        finished: false,
        control: Vec::new(),
    }
}
