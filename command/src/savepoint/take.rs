//! `tidemill savepoint take`.

use serde_json::json;
use tidemill_state::{
    ErrorKind, LocalStore, Manifest, SavepointName, Sharing, StateError, catalogue, take_savepoint_unless_removed,
};

use super::find::place;
use crate::args::{Common, Epoch};
use crate::checkpoints::{choose, whole};
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::{self, size};

/// Number of times that another checkpoint is taken because the running job has removed the one before.
const TRIES: usize = 20;

pub fn run(store: &LocalStore, name: Option<&SavepointName>, epoch: Epoch, common: &Common) -> Result<String, Failure> {
    for _ in 0..TRIES {
        let all = catalogue(store)?;
        let manifest = whole(choose(&all, epoch)?)?;
        let name = SavepointName::or_of_epoch(name, manifest.epoch);
        let to = place(Some(&common.store), name.as_ref())?;
        let shown = spinner("copying and comparing");
        let taken = take_savepoint_unless_removed(store, manifest, &to, Sharing::Links);
        drop(shown);
        match taken {
            Ok(true) => return report(manifest, &name, common),
            Ok(false) => {}
            Err(error) => return Err(failure(error, manifest, common)),
        }
        if let Epoch::Number(_) = epoch {
            break;
        }
    }
    let text = format!(
        "the running job has removed the checkpoint while it was copied, and no savepoint was taken; have it keep more (--retain-checkpoints), or take the newest one with: tidemill savepoint take --store {}",
        common.store.display()
    );
    Err(Failure::new(ErrorKind::Unavailable, text))
}

fn failure(error: StateError, of: &Manifest, common: &Common) -> Failure {
    match error {
        StateError::Savepoint { faults, .. } => {
            let (epoch, store) = (of.epoch, common.store.display());
            let text = format!(
                "the checkpoint of epoch {epoch} is damaged, and no savepoint was taken: {}; see which ones are whole with: tidemill checkpoints verify --store {store}",
                faults.join("; ")
            );
            Failure::new(ErrorKind::Data, text)
        }
        error => error.into(),
    }
}

fn report(of: &Manifest, name: &str, common: &Common) -> Result<String, Failure> {
    let (epoch, bytes, store) = (of.epoch, of.bytes(), common.store.display());
    if common.json {
        let document = json!({ "name": name, "epoch": epoch, "job": of.job, "bytes": bytes });
        return Ok(report::json(&document)?);
    }
    let size = size(bytes);
    Ok(format!(
        "took savepoint {name} of epoch {epoch} of job \"{}\" ({size})\nrestore it with: tidemill savepoint restore {name} --store {store} -- PROGRAM\n",
        of.job
    ))
}
