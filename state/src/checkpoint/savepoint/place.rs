//! Where savepoints are, and how they are called.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// The folder of savepoints in a checkpoint directory.
pub(super) const FOLDER: &str = "savepoints";

/// The name of a savepoint, which is the name of its folder: letters, digits, `.`, `_` and `-`, the first of which is a
/// letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavepointName(String);

impl SavepointName {
    /// Largest length of a name: a draft's name, which is longer, must be the name of a file, too.
    const MOST: usize = 128;

    /// Returns the name of a savepoint of the checkpoint of `epoch`: the given one, or else one that has the epoch.
    #[must_use]
    pub fn or_of_epoch(name: Option<&Self>, epoch: u64) -> String {
        name.map_or_else(|| format!("epoch-{epoch}"), ToString::to_string)
    }
}

impl FromStr for SavepointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.chars().all(of_name) && text.len() <= Self::MOST && !text.ends_with(".tmp") {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "\"{text}\" is no name of a savepoint: use letters, digits, '.', '_' and '-', at most {} of them, and begin with a letter or a digit",
            Self::MOST
        ))
    }
}

impl fmt::Display for SavepointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the folder of the savepoint that a person calls `at`: a name is one in the checkpoint directory, and anything
/// with a `/` is a path. Returns `None` for a name without a checkpoint directory.
#[must_use]
pub fn savepoint_place(checkpoint_dir: Option<&Path>, at: &Path) -> Option<PathBuf> {
    let mut parts = at.components();
    match (parts.next(), parts.next()) {
        // `x/` is a path as well, and has the same components as `x`.
        (Some(Component::Normal(name)), None) if name.len() == at.as_os_str().len() => {
            Some(checkpoint_dir?.join(FOLDER).join(name))
        }
        _ => Some(at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_the_checkpoint_directory_and_a_path_is_anywhere() {
        let place = |at: &str| savepoint_place(Some(Path::new("/jobs/a")), Path::new(at));
        assert_eq!(place("before-v2"), Some(PathBuf::from("/jobs/a/savepoints/before-v2")));
        for path in ["./before-v2", "/backup/before-v2", "../x", "before-v2/"] {
            assert_eq!(place(path), Some(PathBuf::from(path)));
        }
        assert_eq!(savepoint_place(None, Path::new("before-v2")), None);
    }

    #[test]
    fn names_are_names_of_folders_that_are_neither_hidden_nor_temporary() {
        for good in ["a", "before-v2.1", "2026-11-29_night"] {
            assert_eq!(good.parse::<SavepointName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "ü", "a.tmp", &"x".repeat(129)] {
            assert!(bad.parse::<SavepointName>().is_err(), "{bad}");
        }
    }
}
