//! Whose a savepoint is once a job was restored from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose a savepoint is once a job was restored from it. The names are those of Flink's claim modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimMode {
    /// The user's: the job never deletes it, and its first checkpoint names none of the savepoint's files.
    #[default]
    NoClaim,
    /// The job's: its files become files of the job's checkpoints, and the savepoint is deleted.
    Claim,
}

impl FromStr for ClaimMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "no-claim" => Ok(Self::NoClaim),
            "claim" => Ok(Self::Claim),
            other => Err(format!("claim mode \"{other}\" is neither no-claim nor claim")),
        }
    }
}

impl fmt::Display for ClaimMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoClaim => "no-claim",
            Self::Claim => "claim",
        })
    }
}
