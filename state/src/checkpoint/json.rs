//! The JSON of a manifest's file: readable for people and tools, with a checksum, because otherwise a changed digit
//! could make a restore leave deltas out.
//!
//! The descriptions of states are not in that checksum. Each has one of its own, which a restore does not need, because
//! it compares each state with the program: it is for whoever examines the file.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::StateError;
use crate::evolve::spec::StateEntry;

const CHECKSUM: &str = "crc32";
/// The field that is not in the checksum: a restore compares each state with the program anyway, and old programs must
/// be able to read manifests in which newer ones describe states by more fields.
const STATES: &str = "states";

/// Encodes a manifest, or the claim of a start, with its checksum.
pub(super) fn encode<T: Serialize>(what: &T) -> Result<String, StateError> {
    let refused = |e| StateError::Internal(format!("a manifest cannot be written as JSON: {e}"));
    let mut json = serde_json::to_string_pretty(what).map_err(refused)?;
    let value = serde_json::to_value(what).map_err(refused)?;
    let crc32 = value.as_object().map_or(0, checksum);
    json.truncate(json.strip_suffix("\n}").unwrap_or(&json).len());
    // Writing into a String cannot fail.
    _ = write!(json, ",\n  \"{CHECKSUM}\": {crc32}\n}}");
    Ok(json)
}

/// Removes the checksum from the fields and compares it with them.
pub(super) fn verify(fields: &mut Map<String, Value>) -> Result<(), String> {
    let wanted = fields.remove(CHECKSUM);
    let found = checksum(fields);
    if wanted.as_ref().and_then(Value::as_u64) == Some(found.into()) {
        return Ok(());
    }
    let wanted = wanted.map_or("none".to_owned(), |wanted| wanted.to_string());
    Err(format!("its checksum is {found}, but it states {wanted}: it was changed after it was written"))
}

/// Returns the checksum of all fields but the states. It does not depend on the order and spacing of the fields.
fn checksum(fields: &Map<String, Value>) -> u32 {
    let mut text = String::new();
    let fields = fields.iter().filter(|(name, _)| ![STATES, CHECKSUM].contains(&name.as_str()));
    write_sorted(fields, &mut text);
    crc32fast::hash(text.as_bytes())
}

/// A state as a manifest's file has it: with the checksum of its description.
#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    state: &'a StateEntry,
    crc32: u32,
}

/// Serialises states, each with its checksum.
pub(super) fn states<S: Serializer>(states: &[StateEntry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(states.iter().map(|state| {
        let fields = serde_json::to_value(state).unwrap_or_default();
        Checked { state, crc32: fields.as_object().map_or(0, checksum) }
    }))
}

/// Returns what is wrong with the descriptions of states in a manifest's file, one text per state. `old` is the number
/// of states without a checksum, as manifests had them from before states had checksums.
pub(super) fn faults_of_states(manifest: &Value) -> (Vec<String>, usize) {
    let (mut faults, mut old) = (Vec::new(), 0);
    for state in manifest.get(STATES).and_then(Value::as_array).into_iter().flatten() {
        let Some(fields) = state.as_object() else { continue };
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        match fields.get(CHECKSUM).map(|stated| (stated.as_u64(), checksum(fields))) {
            Some((stated, found)) if stated == Some(found.into()) => {}
            Some((stated, found)) => {
                let stated = stated.map_or("none".to_owned(), |stated| stated.to_string());
                faults.push(format!(
                    "the description of state \"{name}\" has the checksum {found}, but it states {stated}"
                ));
            }
            None => {
                // A later version may have more fields, but then it has a checksum, too.
                let unknown = fields.keys().find(|field| !StateEntry::FIELDS.contains(&field.as_str()));
                faults.extend(unknown.map(|field| {
                    format!("the description of state \"{name}\" has no checksum, and a field \"{field}\" that no version without checksums wrote")
                }));
                old += 1;
            }
        }
    }
    (faults, old)
}

fn write_sorted<'v>(fields: impl Iterator<Item = (&'v String, &'v Value)>, out: &mut String) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| *name);
    out.push('{');
    for (name, value) in fields {
        _ = write!(out, "{name:?}:");
        write_value(value, out);
    }
    out.push('}');
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => write_sorted(fields.iter(), out),
        Value::Array(values) => {
            out.push('[');
            for value in values {
                write_value(value, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => _ = write!(out, "{plain}"),
    }
}
