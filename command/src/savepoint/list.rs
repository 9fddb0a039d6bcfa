//! `tidemill savepoint list`.

use serde_json::{Value, json};
use tidemill_state::{ListedSavepoint, LocalStore, savepoints};

use crate::args::Common;
use crate::failure::Failure;
use crate::report::{self, size, table, time};

pub fn run(common: &Common) -> Result<String, Failure> {
    // It fails where there is no checkpoint directory.
    LocalStore::look_at(&common.store)?;
    let all = savepoints(&common.store)?;
    if common.json {
        let all: Vec<Value> = all.iter().map(document).collect();
        return Ok(report::json(&json!({ "savepoints": all }))?);
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    Ok(table(&["NAME", "EPOCH", "CREATED", "JOB", "WORKERS", "STATES", "SIZE", ""], &rows))
}

fn row(of: &ListedSavepoint) -> Vec<String> {
    let mut row = vec![of.name.clone()];
    match &of.savepoint {
        Ok(savepoint) => {
            let of = &savepoint.manifest;
            let (workers, states) = (of.workers.len().to_string(), of.states.len().to_string());
            row.extend([of.epoch.to_string(), time(of.created_ms), of.job.clone(), workers, states, size(of.bytes())]);
            row.push(if of.finished { "finished".to_owned() } else { String::new() });
        }
        Err(error) => {
            row.resize(7, String::new());
            row.push(error.to_string());
        }
    }
    row
}

fn document(of: &ListedSavepoint) -> Value {
    match &of.savepoint {
        Ok(savepoint) => {
            let manifest = &savepoint.manifest;
            json!({
                "name": of.name, "epoch": manifest.epoch, "created": time(manifest.created_ms), "job": manifest.job,
                "workers": manifest.workers.len(), "states": manifest.states.len(), "bytes": manifest.bytes(),
                "finished": manifest.finished,
            })
        }
        Err(error) => json!({ "name": of.name, "fault": error.to_string() }),
    }
}
