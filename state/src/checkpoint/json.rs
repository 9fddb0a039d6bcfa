//! The JSON of a manifest's file: readable for people and tools, with a checksum, because otherwise a changed digit
//! could make a restore leave deltas out.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::StateError;

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
