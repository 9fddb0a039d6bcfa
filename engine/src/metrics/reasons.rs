//! The number of dead letters by reason. A reason is a sentence and often quotes the record, so what is counted is its
//! class: the number of classes has a bound, as labels must.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::locks::lock;

/// Number of classes per operator and worker; the reasons of all others count as [`OTHER`].
const CLASSES: usize = 16;
/// Length of a class, in characters.
const LENGTH: usize = 60;
/// The class of reasons for which there is no room.
const OTHER: &str = "other";

/// The number of dead letters of one operator on one worker, by the class of their reason.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<BTreeMap<String, u64>>);

impl Reasons {
    pub(crate) fn count(&self, reason: &str) {
        let mut counts = lock(&self.0);
        let class = class(reason);
        let class = if counts.len() < CLASSES || counts.contains_key(class) { class } else { OTHER };
        match counts.get_mut(class) {
            Some(count) => *count += 1,
            None => drop(counts.insert(class.to_owned(), 1)),
        }
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.0).clone()
    }
}

/// Returns the beginning of a reason, up to where it goes into details: a colon, a quotation, a number or a bracket.
fn class(reason: &str) -> &str {
    let detail =
        |c: char| matches!(c, ':' | '"' | '`' | '\'' | '(' | '[' | '{' | ';' | ',' | '\n') || c.is_ascii_digit();
    let end = reason.find(detail).unwrap_or(reason.len());
    let end = reason.char_indices().nth(LENGTH).map_or(end, |(at, _)| end.min(at));
    let class = reason[..end].trim();
    if class.is_empty() { OTHER } else { class }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_details_are_one_class() {
        let reasons = Reasons::default();
        reasons.count("not JSON: expected value at line 1 column 5");
        reasons.count("not JSON: EOF");
        reasons.count("4711 is no card");
        assert_eq!(reasons.counts(), BTreeMap::from([("not JSON".to_owned(), 2), (OTHER.to_owned(), 1)]));
    }

    #[test]
    fn the_number_and_the_length_of_classes_have_a_bound() {
        let reasons = Reasons::default();
        for letters in (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [a, b])) {
            reasons.count(&format!("{} {}", String::from_utf8_lossy(&letters), "é".repeat(100)));
        }
        let counts = reasons.counts();
        assert_eq!(counts.len(), CLASSES + 1);
        assert_eq!(counts.values().sum::<u64>(), 26 * 26);
        assert!(counts.keys().all(|class| class.chars().count() <= LENGTH));
    }
}
