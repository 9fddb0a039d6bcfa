//! Local item suggestion: who sells something of category 10 in Oregon, Idaho or California.
//! ```text
//! SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
//! WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca')
//! ```
//! An incremental join: a pair is emitted when the later of the two records arrives, and both are kept forever. The
//! generator writes states in lower case.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Event, persons_and_auctions};

/// An interval without a limit: the two records may be any time apart.
const ALL_TIME: Duration = millis(i64::MAX as u64);
const EVER: Between = Between::new(earlier(ALL_TIME), later(ALL_TIME));

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    id: usize,
    name: String,
    city: String,
    state: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suggestion {
    name: String,
    city: String,
    state: String,
    id: usize,
}

pub fn q3(events: Stream<'_, Event>) -> Result<Stream<'_, Suggestion>, JobError> {
    let (persons, auctions) = persons_and_auctions(events);
    let persons = persons
        .filter(|person| ["or", "id", "ca"].contains(&person.state.as_str()))
        .map(|person| Person { id: person.id, name: person.name, city: person.city, state: person.state })
        .key_by(|person| person.id);
    let auctions = auctions
        .filter(|auction| auction.category == 10)
        .map(|auction| (auction.seller, auction.id))
        .key_by(|(seller, _)| *seller);
    let pairs = persons.interval_join("person-auction", auctions, EVER, JoinKind::Inner)?.results;
    Ok(pairs.flat_map(|pair| match pair {
        Joined::Both(Person { name, city, state, .. }, (_, id)) => Some(Suggestion { name, city, state, id }),
        Joined::Left(_) | Joined::Right(_) => None,
    }))
}
