//! `tidemill job stop`.

use serde_json::json;
use tidemill_state::ErrorKind;

use super::client::Client;
use super::status::failed;
use super::wait::{LOOK, pause};
use crate::args::job::At;
use crate::failure::Failure;
use crate::progress::spinner;

/// Number of answers that are missed in a row by a job that has ended: one that is slow may miss one.
const MISSES: usize = 3;

pub fn run(at: &At, no_wait: bool) -> Result<String, Failure> {
    let client = Client::of(at)?;
    client.post("stop", &json!({}))?;
    if no_wait {
        return Ok("the job was asked to stop\n".to_owned());
    }
    let _shown = spinner("the job finishes its epoch");
    let (mut committed, mut misses) = (None, 0);
    while misses < MISSES {
        match client.get("job") {
            Ok(job) => {
                failed(&job).map_or(Ok(()), Err)?;
                (committed, misses) = (job["committed_epoch"].as_u64().or(committed), 0);
            }
            Err(Failure { kind: ErrorKind::Unavailable, .. }) => misses += 1,
            Err(failure) => return Err(failure),
        }
        pause(LOOK);
    }
    let seen =
        committed.map_or_else(String::new, |epoch| format!("; epoch {epoch} or a later one is its last checkpoint"));
    Ok(format!("the job no longer answers: it has ended{seen}\n"))
}
