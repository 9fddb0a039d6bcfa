//! Which version of which model is asked for.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A model and the choice of its version. It is written `fraud` (the latest version), `fraud/3` or `fraud@champion`, as
/// in MLflow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    /// The name of the model.
    pub name: String,
    /// The choice of its version.
    pub version: VersionChoice,
}

/// The choice of a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VersionChoice {
    /// The complete version with the largest number.
    Latest,
    /// This version.
    Number(NonZeroU64),
    /// The version that has this alias now.
    Alias(String),
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            VersionChoice::Latest => f.write_str(&self.name),
            VersionChoice::Number(version) => write!(f, "{}/{version}", self.name),
            VersionChoice::Alias(alias) => write!(f, "{}@{alias}", self.name),
        }
    }
}

impl FromStr for ModelRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" names no model: write fraud, fraud/3 or fraud@champion");
        let (name, version) = if let Some((name, alias)) = text.split_once('@') {
            (name, VersionChoice::Alias(alias.to_owned()))
        } else if let Some((name, version)) = text.split_once('/') {
            (name, VersionChoice::Number(version.parse().map_err(|_| wrong())?))
        } else {
            (text, VersionChoice::Latest)
        };
        // A name is that of a folder in the repository, and leads nowhere else.
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '@', '\0']);
        let alias_is_name = match &version {
            VersionChoice::Alias(alias) => is_name(alias),
            _ => true,
        };
        (is_name(name) && alias_is_name).then(|| Self { name: name.to_owned(), version }).ok_or_else(wrong)
    }
}

impl TryFrom<String> for ModelRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ModelRef> for String {
    fn from(wanted: ModelRef) -> Self {
        wanted.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_written_as_it_is_read() {
        for text in ["fraud", "fraud/3", "fraud@champion", "card-fraud.v2"] {
            assert_eq!(text.parse::<ModelRef>().unwrap().to_string(), text);
        }
        for wrong in ["", "/3", "fraud/", "fraud/0", "fraud/x", "fraud@", "@champion", "..", "../x", "a/b/c", "a@b/c"] {
            assert!(wrong.parse::<ModelRef>().unwrap_err().contains("names no model"), "{wrong}");
        }
    }
}
