//! `tidemill state dump`.

use std::io;

use serde_json::Value;
use tidemill_state::{ErrorKind, LocalStore, Manifest, StateEntry, StateError, catalogue, dump};

use super::format::{unwritable, writer};
use crate::args::Dump;
use crate::checkpoints::{choose, whole};
use crate::failure::Failure;
use crate::scratch::scratch;

pub fn run(store: &LocalStore, asked: &Dump) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let manifest = whole(choose(&all, asked.epoch)?)?;
    let state = find(manifest, &asked.state)?;
    check_keys(state, asked)?;
    let scratch = scratch()?;
    let mut out = if asked.count { None } else { Some(writer(asked.format, state)?) };
    let (mut rows, mut broken) = (0, None);
    let most = asked.limit.unwrap_or(u64::MAX);
    let mut visit = |row: Value| -> Result<bool, StateError> {
        if rows >= most {
            return Ok(false);
        }
        if is_wanted(&row, asked) {
            rows += 1;
            broken = out.as_mut().and_then(|out| out.row(&row).err());
        }
        Ok(broken.is_none())
    };
    dump(store, manifest, state, scratch.path(), &mut visit)?;
    let written = broken.map_or_else(|| out.as_mut().map_or(Ok(()), |out| out.finish()), Err);
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(error)),
        _ => Ok(if asked.count { format!("{rows}\n") } else { String::new() }),
    }
}

/// Refuses to look for keys where rows have none.
fn check_keys(state: &StateEntry, asked: &Dump) -> Result<(), Failure> {
    if state.kind != "pending" || (asked.key.is_none() && asked.prefix.is_none()) {
        return Ok(());
    }
    let text =
        format!("the rows of \"{}\" have no keys, they are pending records: leave --key and --prefix out", state.name);
    Err(Failure::new(ErrorKind::Invalid, text))
}

/// Returns whether the key of a row is asked for: as its text, or as JSON if it is not a text.
fn is_wanted(row: &Value, asked: &Dump) -> bool {
    if asked.key.is_none() && asked.prefix.is_none() {
        return true;
    }
    let key = match row.get("key") {
        None => return false,
        Some(Value::String(key)) => key.clone(),
        Some(other) => other.to_string(),
    };
    asked.key.as_ref().is_none_or(|wanted| key == *wanted)
        && asked.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
}

fn find<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m StateEntry, Failure> {
    manifest.states.iter().find(|state| state.name == name).ok_or_else(|| {
        let names: Vec<&str> = manifest.states.iter().map(|state| state.name.as_str()).collect();
        let text = format!(
            "epoch {} has no state \"{name}\"; it has {}; see them with: tidemill state list --store DIR",
            manifest.epoch,
            names.join(", ")
        );
        Failure::new(ErrorKind::Invalid, text)
    })
}
