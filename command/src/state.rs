//! `tidemill state dump`.

use std::io::{self, BufWriter, Write};

use tidemill_state::{Catalogued, ErrorKind, LocalStore, Manifest, StateEntry, StateError, catalogue, dump};

use crate::args::StateAction;
use crate::checkpoints::choose;
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout besides the rows, which are printed as they are read.
pub fn run(action: &StateAction) -> Result<String, Failure> {
    let StateAction::Dump { state, epoch, limit, count, store } = action;
    let store = LocalStore::look_at(store)?;
    let all = catalogue(&store)?;
    let manifest = choose(&all, *epoch).map(Catalogued::checkpoint)?;
    let manifest = manifest.ok_or_else(|| {
        Failure::new(ErrorKind::Data, "its manifest is damaged; see: tidemill checkpoints verify --store DIR")
    })?;
    let state = find(manifest, state)?;
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::new(ErrorKind::Unavailable, format!("cannot create a scratch folder: {error}")))?;
    let (mut rows, mut broken) = (0, None);
    let mut out = BufWriter::new(io::stdout().lock());
    let most = limit.unwrap_or(u64::MAX);
    let mut visit = |row: serde_json::Value| -> Result<bool, StateError> {
        if rows >= most {
            return Ok(false);
        }
        rows += 1;
        if !*count {
            broken = writeln!(out, "{row}").err();
        }
        Ok(broken.is_none())
    };
    dump(&store, manifest, state, scratch.path(), &mut visit)?;
    let written = broken.map_or_else(|| out.flush(), Err);
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ErrorKind::Unavailable, format!("cannot write the rows: {error}")))
        }
        _ => Ok(if *count { format!("{rows}\n") } else { String::new() }),
    }
}

fn find<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m StateEntry, Failure> {
    manifest.states.iter().find(|state| state.name == name).ok_or_else(|| {
        let names: Vec<&str> = manifest.states.iter().map(|state| state.name.as_str()).collect();
        let text = format!("epoch {} has no state \"{name}\"; it has {}", manifest.epoch, names.join(", "));
        Failure::new(ErrorKind::Invalid, text)
    })
}
