//! `tidemill job checkpoint`.

use serde_json::json;
use tidemill_state::ErrorKind;

use super::client::Client;
use super::status::failed;
use super::wait::{LOOK, pause};
use crate::args::job::At;
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report;

pub fn run(at: &At, no_wait: bool, json: bool) -> Result<String, Failure> {
    let client = Client::of(at)?;
    let epoch = client.post("checkpoint", &json!({}))?["epoch"].as_u64().unwrap_or_default();
    if no_wait {
        let words = || format!("a checkpoint was asked for: it is made once the committed epoch is at least {epoch}\n");
        return if json { Ok(report::json(&json!({ "epoch": epoch }))?) } else { Ok(words()) };
    }
    let committed = committed(&client, epoch)?;
    let words = || format!("the checkpoint of epoch {committed} is committed\n");
    if json { Ok(report::json(&json!({ "epoch": epoch, "committed_epoch": committed }))?) } else { Ok(words()) }
}

/// Waits until an epoch from `least` on is committed, and returns it.
fn committed(client: &Client, least: u64) -> Result<u64, Failure> {
    let _shown = spinner("the job makes a checkpoint");
    loop {
        let job = client.get("job")?;
        if let Some(committed) = job["committed_epoch"].as_u64().filter(|epoch| *epoch >= least) {
            return Ok(committed);
        }
        failed(&job).map_or(Ok(()), Err)?;
        if ["stopped", "finished"].iter().any(|ended| job["state"] == *ended) {
            return Err(Failure::new(ErrorKind::Unavailable, "the job has ended before it made the checkpoint"));
        }
        pause(LOOK);
    }
}
