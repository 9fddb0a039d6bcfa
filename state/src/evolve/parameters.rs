//! What a state was made with beside its types: lengths of windows, bounds, horizons. State of other parameters reads well
//! and means something else: windows that nothing ends, counts of what has long left.

use std::fmt;
use std::rc::Rc;

/// The parameters of an operator, as manifests keep them beside the states that depend on them: a text for people, the same
/// for the same parameters. A checkpoint that has another one under the state's name is refused, with both.
#[derive(Clone)]
pub struct Parameters {
    text: String,
    reads: Option<Reads>,
    one_of: &'static [&'static str],
}

/// Says of a text in a checkpoint whether state that was made so is right here, too.
type Reads = Rc<dyn Fn(&str) -> bool>;

impl Parameters {
    /// Parameters that this text says all of.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), reads: None, one_of: &[] }
    }

    /// State of these other parameters is right here as well, or is made right when it is read.
    #[must_use]
    pub fn or_from(mut self, reads: impl Fn(&str) -> bool + 'static) -> Self {
        self.reads = Some(Rc::new(reads));
        self
    }

    /// The operator has one of these states, which one depends on the parameters: those of any of them in a checkpoint
    /// are compared.
    #[must_use]
    pub fn of_one_of(mut self, states: &'static [&'static str]) -> Self {
        self.one_of = states;
        self
    }

    /// Whether state that was made with what this text says can be gone on with.
    pub(crate) fn read(&self, stored: &str) -> bool {
        stored == self.text || self.reads.as_ref().is_some_and(|reads| reads(stored))
    }

    /// The states whose parameters these are, beside the one that is opened.
    pub(crate) fn one_of(&self) -> &'static [&'static str] {
        self.one_of
    }

    /// The text.
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

/// By what they say.
impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Parameters {}
