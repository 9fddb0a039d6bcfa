//! `tidemill checkpoints show`.

use std::fmt::Write as _;

use tidemill_state::{LocalStore, Manifest, Shape, StateEntry, catalogue};

use super::choice::{choose, whole};
use crate::args::Epoch;
use crate::failure::Failure;
use crate::report::{self, size, table, time};

pub fn run(store: &LocalStore, epoch: Epoch, json: bool) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let manifest = whole(choose(&all, epoch)?)?;
    if json { Ok(report::json(manifest)?) } else { Ok(text(manifest)) }
}

fn text(of: &Manifest) -> String {
    let mut text = format!(
        "epoch {} of job \"{}\", created {}, {} key groups{}\n\nSTATES\n",
        of.epoch,
        of.job,
        time(of.created_ms),
        of.key_groups,
        if of.finished { ", finished" } else { "" }
    );
    text += &table(&["NAME", "KIND", "VERSION", "KEY", "VALUE"], &of.states.iter().map(state).collect::<Vec<_>>());
    text += "\nFILES\n";
    let mut rows = Vec::new();
    for (worker, files) in of.workers.iter().enumerate() {
        if let Some(base) = &files.base {
            let bytes = base.files.iter().map(|file| file.len).sum();
            rows.push(vec![worker.to_string(), base.epoch.to_string(), size(bytes), base.dir.clone()]);
        }
        for delta in &files.deltas {
            rows.push(vec![worker.to_string(), delta.epoch.to_string(), size(delta.len), delta.file.clone()]);
        }
    }
    // Writing into a String cannot fail.
    _ = write!(text, "{}", table(&["WORKER", "EPOCH", "SIZE", "FILE"], &rows));
    text
}

fn state(of: &StateEntry) -> Vec<String> {
    let shape = |shape: Option<&Shape>| shape.map_or_else(String::new, ToString::to_string);
    let layout = of.layout.as_ref();
    let (key, value) = (layout.and_then(|layout| layout.key.as_ref()), layout.and_then(|layout| layout.value.as_ref()));
    vec![of.name.clone(), of.kind.clone(), of.version.to_string(), shape(key), shape(value)]
}
