//! What operators show of their last findings, for the page and the API.
//!
//! ```text
//! operator ─ show(part, finding) ─▶ Board, one per topic and operator, of all workers of the process ─▶ /api/v1/TOPIC
//! ```
//! A board holds the last finding of each part only, and a bounded number of parts. It is not part of a checkpoint: after
//! a restart it is empty until something is found again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::locks::lock;

/// Number of parts that a board holds. The one that was shown the longest ago makes room for another.
const PARTS: usize = 20;

/// The last findings of an operator. The workers of a process share it; it is cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Parts>>);

/// The part that was shown last is at the end.
type Parts = VecDeque<(String, Arc<Value>)>;

impl Board {
    /// Shows what was found of a part, such as a version of a model, instead of what was found of it before. Of more than
    /// 20 parts, those that were shown last are kept.
    ///
    /// What is shown is sent to each page that is open every two seconds, so it should have some hundred KiB at most.
    pub fn show(&self, part: &str, finding: Value) {
        let mut parts = lock(&self.0);
        parts.retain(|(name, _)| name != part);
        parts.push_back((part.to_owned(), Arc::new(finding)));
        while parts.len() > PARTS {
            parts.pop_front();
        }
    }
}

/// The boards of a process, by topic and operator.
#[derive(Debug, Default)]
pub(crate) struct Boards(Mutex<BTreeMap<(String, String), Board>>);

/// The last findings, by operator and part.
pub(crate) type Findings = BTreeMap<String, BTreeMap<String, Arc<Value>>>;

impl Boards {
    /// Returns the board of an operator.
    pub(crate) fn of(&self, topic: &str, operator: &str) -> Board {
        lock(&self.0).entry((topic.to_owned(), operator.to_owned())).or_default().clone()
    }

    /// Returns what operators show of a topic. One that has found nothing yet is there, and has no parts.
    pub(crate) fn findings(&self, topic: &str) -> Findings {
        let boards = lock(&self.0);
        let of_topic = boards.iter().filter(|((of, _), _)| of == topic);
        of_topic.map(|((_, operator), board)| (operator.clone(), lock(&board.0).iter().cloned().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_finding_of_each_part_is_shown_and_the_oldest_part_makes_room() {
        let boards = Boards::default();
        let board = boards.of("drift", "a");
        boards.of("other", "a").show("x", json!(0));
        assert_eq!(boards.findings("drift"), Findings::from([("a".to_owned(), BTreeMap::new())]));
        (0..PARTS).for_each(|part| board.show(&part.to_string(), json!(part)));
        // Part 0 is shown again, so that part 1 is the oldest.
        boards.of("drift", "a").show("0", json!("again"));
        board.show("new", json!(null));
        let shown = &boards.findings("drift")["a"];
        assert_eq!((shown.len(), &*shown["0"], shown.get("1")), (PARTS, &json!("again"), None));
        assert!(shown.contains_key("2") && shown.contains_key("new"), "{shown:?}");
    }
}
