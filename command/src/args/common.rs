//! What several actions share.

use std::path::PathBuf;

/// The flags of every action.
#[derive(clap::Args)]
pub struct Common {
    /// The job's checkpoint directory.
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// An epoch as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    Number(u64),
    /// So many checkpoints before the newest.
    BeforeLatest(usize),
}

impl std::str::FromStr for Epoch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let before = text.strip_prefix("latest").map(|rest| match rest {
            "" => Some(0),
            _ => rest.strip_prefix('~').and_then(|number| number.parse().ok()),
        });
        let named = before.map_or_else(|| text.parse().ok().map(Self::Number), |before| before.map(Self::BeforeLatest));
        named.ok_or_else(|| "give a number, \"latest\", or \"latest~N\"".to_owned())
    }
}
