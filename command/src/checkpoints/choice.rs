//! Which checkpoint a person means.

use tidemill_state::{Catalogued, Contents, ErrorKind, Manifest};

use crate::args::Epoch;
use crate::failure::Failure;

/// Returns the checkpoint, which may be damaged, among the files of `manifests/`.
pub fn choose(all: &[Catalogued], epoch: Epoch) -> Result<&Catalogued, Failure> {
    let checkpoints: Vec<&Catalogued> =
        all.iter().filter(|one| !matches!(one.contents, Contents::Claim { .. })).collect();
    let found = match epoch {
        Epoch::Number(number) => checkpoints.iter().find(|one| one.number == number),
        Epoch::BeforeLatest(before) => checkpoints.iter().rev().nth(before),
    };
    found.copied().ok_or_else(|| {
        let there: Vec<String> = checkpoints.iter().map(|one| one.number.to_string()).collect();
        let there =
            if there.is_empty() { "there is none".to_owned() } else { format!("there are {}", there.join(", ")) };
        Failure::new(
            ErrorKind::Invalid,
            format!("there is no such checkpoint: {there}; see them with: tidemill checkpoints list --store DIR"),
        )
    })
}

/// Returns the manifest of a checkpoint, unless it is damaged.
pub fn whole(one: &Catalogued) -> Result<&Manifest, Failure> {
    match &one.contents {
        Contents::Damaged(reason) => {
            let text = format!(
                "\"{}\" is damaged: {reason}; see what is whole with: tidemill checkpoints verify --store DIR",
                one.file
            );
            Err(Failure::new(ErrorKind::Data, text))
        }
        _ => one.checkpoint().ok_or_else(|| Failure::new(ErrorKind::Internal, "a claim was chosen")),
    }
}
