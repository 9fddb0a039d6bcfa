//! How the names in a program differ from those in the checkpoint it restores: renamed and dropped operators and
//! states.
//!
//! Both are declared by hand (in the settings `renamed` and `drop_state`): nothing is guessed from missing names.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::StateError;
use crate::remedy::Remedy;

/// A new name for an operator, a source, a sink, or one state. As text: `old=new`, `operator/old=operator/new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Name in the checkpoint.
    pub old: String,
    /// Name in the program.
    pub new: String,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (old, new) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not OLD=NEW"))?;
        let rename = Self { old: old.to_owned(), new: new.to_owned() };
        rename.check().map(|()| rename)
    }
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.old, self.new)
    }
}

impl Rename {
    /// Checks that both names are valid and of the same kind.
    ///
    /// # Errors
    /// When a name is not valid, or when one is an operator's and the other a state's.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.old)?;
        check_name(&self.new)?;
        if is_state(&self.old) != is_state(&self.new) {
            return Err(format!("\"{self}\" is an operator's name on one side and a state's on the other"));
        }
        Ok(())
    }
}

/// Checks that this is the name of an operator, or `operator/state`.
fn check_name(name: &str) -> Result<(), String> {
    let mut parts = name.split('/');
    let good = parts.clone().count() <= 2 && parts.all(|part| !part.is_empty());
    if good { Ok(()) } else { Err(format!("\"{name}\" is not the name of an operator or OPERATOR/STATE")) }
}

fn is_state(name: &str) -> bool {
    name.contains('/')
}

fn operator_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// The changes of names that a start declares for the checkpoint it restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new names.
    pub renamed: Vec<Rename>,
    /// Names that are dropped on purpose: an operator's name, or `operator/state`.
    pub dropped: Vec<String>,
}

impl Changes {
    /// Returns the program's name for a state of the checkpoint, or `None` if the state is dropped.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<String> {
        if let Some(rename) = self.renamed.iter().find(|rename| rename.old == name) {
            return Some(rename.new.clone());
        }
        if self.dropped.iter().any(|dropped| dropped == name) {
            return None;
        }
        let (operator, state) = name.split_once('/')?;
        self.operator(operator).map(|operator| format!("{operator}/{state}"))
    }

    /// Returns the program's name for an operator of the checkpoint, or `None` if the operator is dropped.
    #[must_use]
    pub fn operator<'n>(&'n self, name: &'n str) -> Option<&'n str> {
        match self.renamed.iter().find(|rename| rename.old == name) {
            Some(rename) => Some(&rename.new),
            None => (!self.dropped.iter().any(|dropped| dropped == name)).then_some(name),
        }
    }

    /// Returns whether a state or operator with this name in the program is to be dropped.
    pub(crate) fn drops(&self, name: &str) -> bool {
        self.dropped.iter().any(|dropped| dropped == name || dropped == operator_of(name))
    }

    /// Checks the changes against the names in a checkpoint: `states`, and all `operators`, including those without
    /// state.
    ///
    /// A rename that was done already (the checkpoint has only the new name) is accepted: the same program is started
    /// again.
    ///
    /// # Errors
    /// When a name is not valid, when something that is to be dropped is not in the checkpoint, or when a name would
    /// mean two things.
    pub fn check(&self, states: &BTreeSet<String>, operators: &BTreeSet<String>) -> Result<(), StateError> {
        let has = |name: &str| if is_state(name) { states.contains(name) } else { operators.contains(name) };
        for rename in &self.renamed {
            let Rename { old, new } = rename;
            rename.check().map_err(|e| renamed(format!("renamed: {e}")))?;
            if self.renamed.iter().filter(|other| other.old == *old || other.new == *new).count() > 1 {
                return Err(renamed(format!("renamed {rename}: another one names \"{old}\" or \"{new}\" as well")));
            }
            // If the settings stay as they are, the next start would drop what this one has renamed.
            if self.dropped.iter().any(|dropped| dropped == old || dropped == new) {
                return Err(renamed(format!(
                    "renamed {rename} and drop_state of \"{old}\" or \"{new}\" exclude each other: do one of them, and the other after the next checkpoint"
                )));
            }
            if has(old) && has(new) {
                return Err(renamed(format!(
                    "renamed {rename}: the checkpoint has both \"{old}\" and \"{new}\", and they cannot become one; give the one of the program a name that the checkpoint does not have"
                )));
            }
            if !has(old) {
                tracing::info!(%rename, "the checkpoint has nothing of the old name: there is nothing to rename");
            }
        }
        for dropped in &self.dropped {
            check_name(dropped).map_err(|e| kept(dropped, format!("drop_state: {e}")))?;
            if operators.is_empty() {
                return Err(kept(
                    dropped,
                    format!("drop_state {dropped}: there is no checkpoint from which anything could be discarded"),
                ));
            }
            if !has(dropped) {
                let there: Vec<&str> = operators.iter().chain(states).map(String::as_str).collect();
                let reason = format!(
                    "drop_state {dropped}: the checkpoint has nothing of that name, so there is nothing to discard; remove it from drop_state, or correct it (there are: {})",
                    there.join(", ")
                );
                return Err(kept(dropped, reason));
            }
        }
        let mut names = BTreeSet::new();
        match states.iter().filter_map(|state| self.state(state)).find(|new| !names.insert(new.clone())) {
            Some(twice) => Err(renamed(format!("renamed would make two states of the checkpoint \"{twice}\""))),
            None => Ok(()),
        }
    }
}

fn renamed(reason: String) -> StateError {
    StateError::setting(reason, [Remedy::Setting("renamed")])
}

fn kept(dropped: &str, reason: String) -> StateError {
    StateError::setting(reason, [Remedy::KeepState(dropped.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(renamed: &[&str], dropped: &[&str]) -> Changes {
        Changes {
            renamed: renamed.iter().map(|text| text.parse().unwrap()).collect(),
            dropped: dropped.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn check(changes: &Changes) -> Result<(), String> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let states = set(&["a/count", "a/timers", "b/sum"]);
        changes.check(&states, &set(&["a", "b", "source"])).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_looked_up_from_the_most_exact_to_the_operators() {
        let changes = changes(&["a=z", "a/count=b/count"], &["b/sum", "c"]);
        let of = |name: &str| changes.state(name);
        assert_eq!(of("a/count").as_deref(), Some("b/count"));
        assert_eq!(of("a/timers").as_deref(), Some("z/timers"));
        assert_eq!((of("b/sum"), of("c/any")), (None, None));
        assert_eq!(of("b/other").as_deref(), Some("b/other"));
        assert_eq!((changes.operator("a"), changes.operator("c"), changes.operator("d")), (Some("z"), None, Some("d")));
    }

    #[test]
    fn possible_changes_are_made_and_accepted_again_after_a_restart() {
        for good in [
            changes(&[], &[]),
            changes(&["a=z"], &["b"]),
            changes(&["gone=a"], &[]),
            changes(&["source=other"], &["a/timers"]),
            changes(&["a/count=a/counts"], &[]),
        ] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn what_would_be_ambiguous_or_is_not_there_is_refused_by_name() {
        for (bad, says) in [
            (changes(&["a=b"], &[]), "has both \"a\" and \"b\""),
            (changes(&["a=z", "b=z"], &[]), "another one names"),
            (changes(&["a=z", "a=y"], &[]), "another one names"),
            (changes(&["a=z"], &["z"]), "exclude each other"),
            (changes(&["a/count=b/sum"], &[]), "has both"),
            (changes(&[], &["c"]), "nothing of that name"),
            (changes(&[], &["a/sum"]), "there are: a, b, source, a/count"),
            (changes(&[], &["a/b/c"]), "is not the name"),
            (changes(&["a=z", "b/sum=z/count"], &[]), "two states of the checkpoint \"z/count\""),
        ] {
            let error = check(&bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for text in ["a", "a=", "=b", "a/x=b", "a//x=b/y", "a=b/c"] {
            assert!(text.parse::<Rename>().is_err(), "{text}");
        }
    }
}
