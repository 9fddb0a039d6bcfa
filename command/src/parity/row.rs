//! A row of features, as both formats are read into it.

use std::collections::HashMap;
use std::path::Path;
use std::{fmt, io};

use tidemill_state::ErrorKind;

use super::cell::Cell;
use crate::args::parity::Share;
use crate::failure::Failure;

/// A row whose key is in the sample.
#[derive(Debug)]
pub struct FeatureRow {
    pub key: String,
    /// The field `model`: name, version and hash of what scored with these features.
    pub model: Option<String>,
    /// The features, by their numbers in [`Names`].
    pub cells: Vec<Cell>,
    /// Whether the features are columns beside others, so that not each column is one.
    pub is_flat: bool,
}

/// What is read of each file.
pub struct Wanted<'a> {
    pub keys: &'a [String],
    pub sample: Share,
}

/// What gets the rows, one after the other.
pub type Visit<'a> = &'a mut dyn FnMut(&Place<'_>, FeatureRow) -> Result<(), Failure>;

/// Where a row is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub path: &'a Path,
    /// `line` or `row`.
    pub unit: &'static str,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\", {} {}", self.path.display(), self.unit, self.number)
    }
}

impl Place<'_> {
    /// Returns the failure for a row that is not what it has to be.
    pub fn failure(&self, text: impl fmt::Display) -> Failure {
        Failure::new(ErrorKind::Data, format!("{self}: {text}"))
    }
}

/// Returns the failure for a file or a folder that cannot be opened.
pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("cannot read \"{}\": {error}", path.display()))
}

/// The names of features, numbered for both sides in the order in which they appear.
#[derive(Debug)]
pub struct Names {
    list: Vec<String>,
    numbers: HashMap<String, usize>,
    /// Whether only the names from the beginning are features.
    is_closed: bool,
}

impl Names {
    /// Only these features; all that appear if there are none.
    pub fn new(only: &[String]) -> Self {
        let mut names = Self { list: Vec::new(), numbers: HashMap::new(), is_closed: false };
        for name in only {
            names.number(name, 0);
        }
        names.is_closed = !only.is_empty();
        names
    }

    /// Returns the number of a feature, which is likely to be `guess`: rows have their features in the same order.
    pub fn number(&mut self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|at_guess| at_guess == name) {
            return Some(guess);
        }
        let known = self.number_of(name);
        if known.is_some() || self.is_closed {
            return known;
        }
        let number = self.list.len();
        self.list.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Some(number)
    }

    /// Returns the number of a feature that has appeared.
    pub fn number_of(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub fn list(&self) -> &[String] {
        &self.list
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Puts a cell where its feature belongs. Returns whether the place was free.
pub fn put(cells: &mut Vec<Cell>, number: usize, cell: Cell) -> bool {
    if cells.len() <= number {
        cells.resize_with(number + 1, Cell::default);
    }
    cells.get_mut(number).is_some_and(|place| std::mem::replace(place, cell) == Cell::Absent)
}

/// Returns the text of a key field that is a number: of a whole one the same, whether it is stored as an integer or not.
pub fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        (number as i64).to_string()
    } else {
        number.to_string()
    }
}

/// Returns the key of the texts of its fields: that of the only one, or a JSON list, which keeps ["a b", "c"] and
/// ["a", "b c"] apart.
pub fn key_of(mut texts: Vec<String>) -> String {
    if texts.len() == 1 { texts.remove(0) } else { serde_json::Value::from(texts).to_string() }
}

/// Returns the fields of a key, with their names.
pub fn fields_of_key<'k>(keys: &'k [String], key: &str) -> Vec<(&'k str, String)> {
    let texts = match keys.len() {
        1 => vec![key.to_owned()],
        _ => serde_json::from_str(key).unwrap_or_default(),
    };
    keys.iter().map(String::as_str).zip(texts).collect()
}

/// Returns a key as a person reads it: `tx_id=7, ts=9`.
pub fn show_key(keys: &[String], key: &str) -> String {
    let show = |(name, text): (&str, String)| {
        // A line break in a text would look like another row.
        if text.contains(char::is_control) { format!("{name}={text:?}") } else { format!("{name}={text}") }
    };
    fields_of_key(keys, key).into_iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_several_fields_stay_apart() {
        let keys = ["a".to_owned(), "b".to_owned()];
        let key = |texts: [&str; 2]| key_of(texts.map(str::to_owned).to_vec());
        assert_ne!(key(["x\",\"y", "z"]), key(["x", "y\",\"z"]));
        assert_eq!(show_key(&keys, &key(["x", "7"])), "a=x, b=7");
        assert_eq!(show_key(&keys[..1], &key_of(vec!["[1]".to_owned()])), "a=[1]");
        assert_eq!(show_key(&keys[..1], "x\ny"), "a=\"x\\ny\"");
        assert_eq!([number_text(7.0), number_text(0.5), number_text(-0.0)], ["7", "0.5", "0"]);
    }

    #[test]
    fn names_have_numbers_in_the_order_of_their_appearance() {
        let mut names = Names::new(&[]);
        assert_eq!([names.number("a", 0), names.number("b", 1), names.number("a", 7)], [Some(0), Some(1), Some(0)]);
        let mut only = Names::new(&["b".to_owned()]);
        assert_eq!([only.number("a", 0), only.number("b", 1)], [None, Some(0)]);
    }
}
