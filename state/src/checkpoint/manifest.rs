//! The manifest of an epoch: the list of everything that a checkpoint consists of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delta::DeltaEntry;
use super::json;
use super::store::BaseEntry;
use crate::evolve::spec::StateEntry;

/// A list of everything that a checkpoint consists of. Creating its file commits the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest's format.
    pub format_version: u32,
    /// Name of the job.
    pub job: String,
    /// The epoch that the manifest commits.
    pub epoch: u64,
    /// Identifier of the start of the job that wrote the manifest.
    pub incarnation: u64,
    /// Time when the manifest was written, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Number of key groups of the job.
    pub key_groups: u16,
    /// The states in the checkpoint.
    #[serde(serialize_with = "json::states")]
    pub states: Vec<StateEntry>,
    /// The files of each worker.
    pub workers: Vec<WorkerEntry>,
    /// Whether the job's input had ended and everything pending had fired.
    pub finished: bool,
    /// The control log: how operators were changed while the job ran, the oldest change first. Absent while there are
    /// none, so that builds from before there were any read the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlEntry>,
}

/// A change of an operator that was asked for while the job ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlEntry {
    /// Identifier of the change; no other one of the log has it.
    pub id: String,
    /// The first epoch in which it is in effect, which may be later than that of the manifest; `None` while nothing is
    /// decided yet.
    pub epoch: Option<u64>,
    /// Name of the operator.
    pub operator: String,
    /// The change, as the operator understands it.
    pub change: Value,
    /// Who asked for it.
    pub by: String,
    /// The reason that was given.
    pub reason: String,
    /// Time when it was asked for, in milliseconds since the Unix epoch.
    pub asked_ms: i64,
}

/// The files of one worker. Its state is the base with the later deltas applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// The base snapshot, if one was taken.
    pub base: Option<BaseEntry>,
    /// The deltas in the order of epochs. Those up to the base's epoch are kept only for their blobs.
    pub deltas: Vec<DeltaEntry>,
}

impl WorkerEntry {
    /// Returns the deltas whose changes are applied on top of the base.
    pub fn deltas_to_apply(&self) -> impl Iterator<Item = &DeltaEntry> {
        let base = self.base.as_ref().map_or(0, |base| base.epoch);
        self.deltas.iter().filter(move |delta| delta.epoch > base)
    }
}

/// A file of a checkpoint, as its manifest names it.
pub struct NamedFile {
    /// Name of the file in the checkpoint store.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Checksum of the file; `None` in manifests from before files of bases had checksums.
    pub crc32: Option<u32>,
}

impl WorkerEntry {
    /// Returns all files.
    pub fn files(&self) -> impl Iterator<Item = NamedFile> {
        let deltas = self.deltas.iter();
        let deltas =
            deltas.map(|delta| NamedFile { name: delta.file.clone(), len: delta.len, crc32: Some(delta.crc32) });
        let of_base = self.base.iter().flat_map(|base| {
            let name = |file: &str| format!("{}/{file}", base.dir);
            base.files.iter().map(move |file| NamedFile { name: name(&file.name), len: file.len, crc32: file.crc32 })
        });
        deltas.chain(of_base)
    }
}

impl Manifest {
    /// Version of the format that this build writes. It also reads version 1, which had no checksum.
    pub const FORMAT_VERSION: u32 = 2;
    /// Maximum number of open epochs: those that the sources have ended and that are not committed, and the running
    /// one.
    pub const MAX_OPEN_EPOCHS: u64 = 4;

    /// Returns the size of the files that it names, in bytes. Checkpoints share most of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.workers.iter().flat_map(WorkerEntry::files).map(|file| file.len).sum()
    }

    pub(crate) fn file(epoch: u64) -> String {
        format!("manifests/{epoch:020}.json")
    }
}

/// The first version of the format that has a checksum.
const FIRST_WITH_CHECKSUM: u64 = 2;

/// Returns the manifest in a file, or what is wrong with the file.
pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, String> {
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|e| format!("it is not the JSON that was written ({} bytes: {e})", bytes.len()))?;
    let version = value.get("format_version").and_then(Value::as_u64);
    let known = u64::from(Manifest::FORMAT_VERSION);
    let version = version.filter(|version| (1..=known).contains(version)).ok_or_else(|| {
        let found = version.map_or("none".to_owned(), |v| v.to_string());
        format!("its format version is {found}, this build reads 1 to {known}")
    })?;
    if version >= FIRST_WITH_CHECKSUM
        && let Some(fields) = value.as_object_mut()
    {
        json::verify(fields)?;
    }
    serde_json::from_value(value).map_err(|e| format!("it is not a manifest: {e}"))
}
