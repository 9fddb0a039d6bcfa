//! `tidemill checkpoints diff`.

use serde_json::json;
use tidemill_state::{Compared, LocalStore, Manifest, StateDifference, catalogue, compare};

use super::choice::{choose, whole};
use crate::args::Epoch;
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::{self, size, table};
use crate::scratch::scratch;

pub fn run(store: &LocalStore, before: Epoch, after: Epoch, json: bool) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let (before, after) = (whole(choose(&all, before)?)?, whole(choose(&all, after)?)?);
    let scratch = scratch()?;
    let of = |manifest| Compared { store, manifest };
    let shown = spinner("comparing rows");
    let states = compare(of(before), of(after), scratch.path())?;
    drop(shown);
    if json {
        return Ok(report::json(&json!({ "before": before.epoch, "after": after.epoch, "states": states }))?);
    }
    Ok(text(before, after, &states))
}

fn text(before: &Manifest, after: &Manifest, states: &[StateDifference]) -> String {
    let rows: Vec<Vec<String>> = states.iter().map(row).collect();
    let head = format!("from epoch {} to epoch {} of job \"{}\"\n\n", before.epoch, after.epoch, after.job);
    head + &table(&["STATE", "ADDED", "REMOVED", "CHANGED", "SAME", "SIZE BEFORE", "SIZE AFTER"], &rows)
}

fn row(of: &StateDifference) -> Vec<String> {
    let StateDifference { state, added, removed, changed, same, bytes_before, bytes_after } = of;
    let counts = [added, removed, changed, same].map(u64::to_string);
    let sizes = [bytes_before, bytes_after].map(|bytes| size(*bytes));
    [state.clone()].into_iter().chain(counts).chain(sizes).collect()
}
