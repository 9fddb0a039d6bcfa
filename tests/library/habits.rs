//! The keyed logic of `evolution.rs` in three versions, each with different types for everything that it stores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::state::TtlClock;

use testkit::script::Event;

pub const TTL: Ttl = Ttl { after: millis(30), clock: TtlClock::EventTime };
pub const TIMER_MS: i64 = 25;
/// Maximum number of elements in a list.
pub const KEPT: usize = 4;

/// One version of a part of a key's state.
pub trait Kept: Value + Clone {
    fn first() -> Self;
    fn see(&mut self, event: &Event);
    fn values(&self) -> Vec<i64>;
}

macro_rules! kept {
    ($name:ident { $($field:ident: $type:ty = $first:expr),* } $see:expr, $values:expr) => {
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub struct $name { $($field: $type),* }

        impl Kept for $name {
            fn first() -> Self {
                Self { $($field: $first),* }
            }
            fn see(&mut self, event: &Event) {
                let see: fn(&mut Self, &Event) = $see;
                see(self, event);
            }
            fn values(&self) -> Vec<i64> {
                let values: fn(&Self) -> Vec<i64> = $values;
                values(self)
            }
        }
    };
}

// The versions of a value: fields are added, then moved.
kept!(Count1 { n: u32 = 0 } | it, _ | it.n += 1, |it| vec![i64::from(it.n)]);
kept!(
    Count2 { n: u32 = 0, total: i64 = 0 } | it,
    e | {
        it.n += 1;
        it.total += i64::from(e.value)
    },
    |it| vec![i64::from(it.n), it.total]
);
kept!(Count3 { best: Option<i32> = None, total: i64 = 0, n: u64 = 0 }
    |it, e| { it.n += 1; it.total += i64::from(e.value); it.best = it.best.max(Some(e.value)) },
    |it| vec![it.n as i64, it.total, it.best.map_or(99, i64::from)]);
// The versions of an entry of a map.
kept!(Entry1 { times: u8 = 0 } | it, _ | it.times = it.times.wrapping_add(1), |it| vec![i64::from(it.times)]);
kept!(
    Entry2 { times: u32 = 0, last: u32 = 7 } | it,
    e | {
        it.times += 1;
        it.last = e.id
    },
    |it| vec![i64::from(it.times), i64::from(it.last)]
);
kept!(
    Entry3 { last: u32 = 7, times: String = String::new() } | it,
    e | {
        it.times.push('x');
        it.last = e.id
    },
    |it| vec![it.times.len() as i64, i64::from(it.last)]
);
// The versions of an element of a list.
kept!(Element1 { value: i32 = 0 } | it, e | it.value = e.value, |it| vec![i64::from(it.value)]);
kept!(
    Element2 { id: u32 = 0, value: i32 = 0 } | it,
    e | {
        it.value = e.value;
        it.id = e.id
    },
    |it| vec![i64::from(it.id), i64::from(it.value)]
);
kept!(Element3 { value: Vec<i64> = vec![], id: u32 = 0 }
    |it, e| { it.value = vec![i64::from(e.value)]; it.id = e.id },
    |it| it.value.iter().copied().chain([i64::from(it.id)]).collect());
// The versions of the header of a list. The first version has none.
kept!(Header2 { sum: i64 = 0 } | it, e | it.sum += i64::from(e.value), |it| vec![it.sum]);
kept!(
    Header3 { pushed: u16 = 0, sum: i64 = 0 } | it,
    e | {
        it.sum += i64::from(e.value);
        it.pushed += 1
    },
    |it| vec![i64::from(it.pushed), it.sum]
);
// The versions of a value with a TTL.
kept!(Recent1 { id: u32 = 0 } | it, e | it.id = e.id, |it| vec![i64::from(it.id)]);
kept!(Recent2 { id: String = String::new() } | it, e | it.id = e.id.to_string(), |it| vec![it.id.parse().unwrap()]);

impl Kept for () {
    fn first() -> Self {}
    fn see(&mut self, _: &Event) {}
    fn values(&self) -> Vec<i64> {
        vec![]
    }
}

impl Default for Header2 {
    fn default() -> Self {
        Self::first()
    }
}

impl Default for Header3 {
    fn default() -> Self {
        Self::first()
    }
}

pub fn count_2(old: Count1) -> Count2 {
    Count2 { n: old.n, total: 1000 }
}
pub fn count_3(old: Count2) -> Count3 {
    Count3 { best: None, total: old.total, n: u64::from(old.n) }
}
pub fn entry_2(old: Entry1) -> Entry2 {
    Entry2 { times: u32::from(old.times), last: 7 }
}
pub fn entry_3(old: Entry2) -> Entry3 {
    Entry3 { last: old.last, times: "x".repeat(old.times as usize) }
}
pub fn element_2(old: Element1) -> Element2 {
    Element2 { id: 5, value: old.value }
}
pub fn element_3(old: Element2) -> Element3 {
    Element3 { value: vec![i64::from(old.value)], id: old.id }
}
pub fn header_2() -> Header2 {
    Header2 { sum: -1 }
}
pub fn header_3(old: Header2) -> Header3 {
    Header3 { pushed: 3, sum: old.sum }
}
pub fn recent_2(old: Recent1) -> Recent2 {
    Recent2 { id: old.id.to_string() }
}

/// The types of a version.
pub trait Schema: 'static {
    type Count: Kept;
    type Entry: Kept;
    type Element: Kept;
    type Header: Kept + Default;
    type Recent: Kept;
    fn open(states: &mut States<'_, u8>) -> Result<Habits<Self>, JobError>
    where
        Self: Sized;
}

pub struct V1;
pub struct V2;
pub struct V3;

impl Schema for V1 {
    type Count = Count1;
    type Entry = Entry1;
    type Element = Element1;
    type Header = ();
    type Recent = Recent1;
    /// Opens the states without versions, like a program whose types have never changed.
    fn open(states: &mut States<'_, u8>) -> Result<Habits<Self>, JobError> {
        Ok(Habits {
            count: states.value("count")?,
            entries: states.map("entries")?,
            list: states.list("list")?,
            recent: states.value_with_ttl("recent", TTL)?,
        })
    }
}

impl Schema for V2 {
    type Count = Count2;
    type Entry = Entry2;
    type Element = Element2;
    type Header = Header2;
    type Recent = Recent1;
    fn open(states: &mut States<'_, u8>) -> Result<Habits<Self>, JobError> {
        let headers = Versions::<()>::first().then(|()| header_2());
        Ok(Habits {
            count: states.evolving("count", &Versions::first().then(count_2))?,
            entries: states.evolving("entries", &Versions::first().then_each(entry_2))?,
            list: states.evolving_list_with_header("list", &Versions::first().then(element_2), &headers)?,
            recent: states.value_with_ttl("recent", TTL)?,
        })
    }
}

impl Schema for V3 {
    type Count = Count3;
    type Entry = Entry3;
    type Element = Element3;
    type Header = Header3;
    type Recent = Recent2;
    fn open(states: &mut States<'_, u8>) -> Result<Habits<Self>, JobError> {
        let elements = Versions::first().then(element_2).then(element_3);
        let headers = Versions::<()>::first().then(|()| header_2()).then(header_3);
        Ok(Habits {
            count: states.evolving("count", &Versions::first().then(count_2).then(count_3))?,
            entries: states.evolving("entries", &Versions::first().then_each(entry_2).then_each(entry_3))?,
            list: states.evolving_list_with_header("list", &elements, &headers)?,
            recent: states.evolving_with_ttl("recent", TTL, &Versions::first().then(recent_2))?,
        })
    }
}

/// A result for a record, or for a timer if the id is [`TIMER`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub key: u8,
    pub id: u32,
    pub values: Vec<i64>,
}

pub const TIMER: u32 = u32::MAX;

pub struct Habits<S: Schema> {
    count: ValueState<u8, S::Count>,
    entries: MapState<u8, u8, S::Entry>,
    list: ListState<u8, S::Element, S::Header>,
    recent: ValueState<u8, S::Recent>,
}

pub fn place_of(event: &Event) -> u8 {
    event.value.rem_euclid(3) as u8
}

impl<S: Schema> KeyedLogic for Habits<S> {
    type Key = u8;
    type In = Event;
    type Out = Answer;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Answer, ()>, record: Record<Event>) -> Result<(), LogicError> {
        let event = record.data;
        let mut values = self.count.update(ctx, S::Count::first, |count| {
            count.see(&event);
            count.values()
        })?;
        values.extend(self.entries.update(ctx, BTreeMap::new, |entries| {
            let entry = entries.entry(place_of(&event)).or_insert_with(S::Entry::first);
            entry.see(&event);
            entry.values()
        })?);
        values.extend(self.list.with(ctx, |list| {
            let (header, queue) = list.parts();
            header.see(&event);
            let mut element = S::Element::first();
            element.see(&event);
            queue.push_back(element);
            while queue.len() > KEPT {
                queue.pop_front();
            }
            let elements: Vec<i64> = queue.iter().flat_map(Kept::values).collect();
            header.values().into_iter().chain(elements).collect::<Vec<i64>>()
        })?);
        if !ctx.is_late() {
            values.extend(self.recent.read(ctx, |recent| recent.map(Kept::values))?.unwrap_or_default());
            let mut recent = S::Recent::first();
            recent.see(&event);
            self.recent.put(ctx, recent)?;
        }
        ctx.set_timer(record.event_time.plus_ms(TIMER_MS));
        ctx.emit(Answer { key: event.key, id: event.id, values });
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Answer, ()>, _: EventTime) -> Result<(), LogicError> {
        let values = self.count.read(ctx, |count| count.map(Kept::values))?.unwrap_or_default();
        ctx.emit(Answer { key: *ctx.key(), id: TIMER, values });
        Ok(())
    }

    fn tie_break(event: &Event) -> u64 {
        u64::from(event.id)
    }
}
