//! `tidemill savepoint take --job`: a savepoint of a running job, of the checkpoint that it makes next.

use serde_json::{Value, json};
use tidemill_state::{ErrorKind, SavepointName};

use super::client::Client;
use super::gathered::text;
use super::wait::{LOOK, pause};
use crate::args::job::{Address, How};
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::{self, size};

pub fn take(at: &Address, how: &How, name: Option<&SavepointName>, json: bool) -> Result<String, Failure> {
    let client = Client::new(at, how)?;
    let job = text(&client.get("job")?["job"]);
    let begun = client.post("savepoints", &json!({ "name": name.map(ToString::to_string) }))?;
    let shown = spinner("the job makes a checkpoint and copies it");
    let taken = taken(&client, &begun["id"])?;
    drop(shown);
    let (name, bytes) = (text(&taken["name"]), taken["bytes"].as_u64().unwrap_or_default());
    if json {
        return Ok(report::json(&json!({ "name": name, "epoch": taken["epoch"], "job": job, "bytes": bytes }))?);
    }
    let (epoch, size) = (&taken["epoch"], size(bytes));
    Ok(format!(
        "took savepoint {name} of epoch {epoch} of job \"{job}\" ({size})\nrestore it with: tidemill savepoint restore {name} --store DIR -- PROGRAM\n"
    ))
}

/// Waits until the savepoint is there.
fn taken(client: &Client, id: &Value) -> Result<Value, Failure> {
    loop {
        let list = client.get("savepoints").map_err(|failure| match failure.kind {
            ErrorKind::Unavailable => {
                let text = format!(
                    "the job at {} has ended or is not reachable any more; whether the savepoint is there, see with: tidemill savepoint list --store DIR",
                    client.base()
                );
                Failure::new(ErrorKind::Unavailable, text)
            }
            _ => failure,
        })?;
        let all = list["savepoints"].as_array();
        let Some(one) = all.and_then(|all| all.iter().find(|one| one["id"] == *id)) else {
            let text =
                "the job was started anew meanwhile; see what is there with: tidemill savepoint list --store DIR";
            return Err(Failure::new(ErrorKind::Unavailable, text));
        };
        match one["state"].as_str() {
            Some("taken") => return Ok(one.clone()),
            Some("failed") => {
                let text = format!("no savepoint was taken: {}", text(&one["error"]));
                return Err(Failure::new(ErrorKind::Unavailable, text));
            }
            _ => pause(LOOK),
        }
    }
}
