//! `tidemill checkpoints list`.

use serde_json::{Value, json};
use tidemill_state::{Catalogued, Contents, LocalStore, catalogue};

use crate::failure::Failure;
use crate::report::{self, size, table, time};

pub fn run(store: &LocalStore, json: bool) -> Result<String, Failure> {
    let all = catalogue(store)?;
    if json {
        return Ok(report::json(&json!({ "files": all.iter().map(document).collect::<Vec<_>>() }))?);
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    Ok(table(&["NUMBER", "KIND", "CREATED", "JOB", "WORKERS", "STATES", "SIZE", ""], &rows))
}

fn row(one: &Catalogued) -> Vec<String> {
    let text = |text: &str| text.to_owned();
    let number = one.number.to_string();
    match &one.contents {
        Contents::Checkpoint(of) => vec![
            number,
            text("checkpoint"),
            time(of.created_ms),
            of.job.clone(),
            of.workers.len().to_string(),
            of.states.len().to_string(),
            size(of.bytes()),
            text(if of.finished { "finished" } else { "" }),
        ],
        Contents::Claim { created_ms, gives_up, of } => {
            let from = if of.epoch == 0 { text("of nothing") } else { format!("of {}", of.epoch) };
            let more = if *gives_up { ", discards later ones" } else { "" };
            let none = String::new;
            vec![number, text("claim"), time(*created_ms), of.job.clone(), none(), none(), none(), from + more]
        }
        Contents::Damaged(reason) => {
            let mut row = vec![number, text("damaged")];
            row.resize(7, String::new());
            row.push(reason.clone());
            row
        }
    }
}

fn document(one: &Catalogued) -> Value {
    let (number, file) = (one.number, &one.file);
    match &one.contents {
        Contents::Checkpoint(of) => json!({
            "number": number, "file": file, "kind": "checkpoint", "created": time(of.created_ms), "job": of.job,
            "workers": of.workers.len(), "states": of.states.len(), "bytes": of.bytes(), "finished": of.finished,
        }),
        Contents::Claim { created_ms, gives_up, of } => json!({
            "number": number, "file": file, "kind": "claim", "created": time(*created_ms), "job": of.job,
            "of": (of.epoch > 0).then_some(of.epoch), "gives_up": gives_up,
        }),
        Contents::Damaged(reason) => json!({ "number": number, "file": file, "kind": "damaged", "reason": reason }),
    }
}
