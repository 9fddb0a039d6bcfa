//! The parameters that a state was made with, besides its types: lengths of windows, bounds, horizons. State that was
//! made with other parameters can be decoded, but means something else: windows that no timer ends, counts of records
//! that left long ago.

use std::fmt;
use std::rc::Rc;

/// The parameters of an operator, as manifests store them beside the states that depend on them: a readable text, the
/// same for the same parameters. A checkpoint with another text under the state's name is refused; the error shows both
/// texts.
#[derive(Clone)]
pub struct Parameters {
    text: String,
    reads: Option<Reads>,
    one_of: &'static [&'static str],
}

/// A function that takes the text in a checkpoint and returns whether state made with those parameters is right here as
/// well.
type Reads = Rc<dyn Fn(&str) -> bool>;

impl Parameters {
    /// Creates parameters that this text describes completely.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), reads: None, one_of: &[] }
    }

    /// Also accepts state that was made with other parameters: those for whose text `reads` returns true. Such state
    /// must be right here as well, or be converted when it is read.
    #[must_use]
    pub fn or_from(mut self, reads: impl Fn(&str) -> bool + 'static) -> Self {
        self.reads = Some(Rc::new(reads));
        self
    }

    /// Compares the parameters with those of all these states in a checkpoint. For an operator that has one of several
    /// states, where the parameters decide which.
    #[must_use]
    pub fn of_one_of(mut self, states: &'static [&'static str]) -> Self {
        self.one_of = states;
        self
    }

    /// Returns whether the operator can continue with state that was made with the parameters of this text.
    pub(crate) fn read(&self, stored: &str) -> bool {
        stored == self.text || self.reads.as_ref().is_some_and(|reads| reads(stored))
    }

    /// Returns the names of the states, besides the one that is opened, whose parameters are compared.
    pub(crate) fn one_of(&self) -> &'static [&'static str] {
        self.one_of
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Parameters {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Parameters {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({:?})", self.text)
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares the texts only.
impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Parameters {}
