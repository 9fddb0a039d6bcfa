//! Monitor new users: who has opened an auction in the ten seconds in which they came.
//! ```text
//! SELECT p.id, p.name, p.starttime
//! FROM (SELECT id, name, starttime FROM TUMBLE(person, 10 s) GROUP BY id, name, starttime) p
//! JOIN (SELECT seller, starttime FROM TUMBLE(auction, 10 s) GROUP BY seller, starttime) a
//! ON p.id = a.seller AND p.starttime = a.starttime
//! ```
//! Each person has a unique id, so there is nothing to group.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Event, persons_and_auctions};

const SIZE_MS: i64 = 10_000;
const WINDOWS: Assigner = Assigner::tumbling(millis(SIZE_MS as u64));

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewSeller {
    id: usize,
    name: String,
    starttime: i64,
}

pub fn q8(events: Stream<'_, Event>) -> Result<Stream<'_, NewSeller>, JobError> {
    let (persons, auctions) = persons_and_auctions(events);
    let persons = persons.map(|person| NewSeller {
        id: person.id,
        name: person.name,
        starttime: person.date_time as i64 / SIZE_MS * SIZE_MS,
    });
    let sellers = auctions.map(|a| a.seller).key_by(|seller| *seller).window("sellers", WINDOWS);
    let sellers = sellers.aggregate(counting())?.results.map(|window| window.key).key_by(|seller| *seller);
    let joined = persons.key_by(|person| person.id).window_join("new-sellers", sellers, WINDOWS, JoinKind::Inner)?;
    Ok(joined.results.flat_map(|pair| if let Joined::Both(person, _) = pair { Some(person) } else { None }))
}
