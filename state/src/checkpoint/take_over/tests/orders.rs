//! Follows every order in which roles can make their calls to the store, without threads.
//!
//! The next call of a role depends only on the answers that it has got from the store so far. So for each row of
//! answers the role is played once: from its beginning, with these answers, up to its next call. Orders that have
//! brought the store and all roles to the same point, with the same events on the way, continue and end in the same
//! way, so they are followed once from there. In this way 340,117,188,369,429 orders of a run and a start become 25,631
//! points, and none is left out: the orders are counted.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use super::*;
use crate::checkpoint::store::{BaseEntry, BaseFile};

/// A call of a role to the store.
#[derive(Clone, Debug)]
enum Request {
    PutNew(String, Vec<u8>),
    Get(String),
    Len(String),
    List(String),
    Delete(String),
}

/// The store's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Bytes(Vec<u8>),
    Len(Option<u64>),
    Names(Vec<String>),
    Exists { file: String, by: String },
    Missing { file: String, reason: String },
}

impl Answer {
    fn of<T>(result: Result<T, StateError>, good: impl FnOnce(T) -> Self) -> Self {
        match result {
            Ok(value) => good(value),
            Err(StateError::Fenced { file, by }) => Self::Exists { file, by },
            Err(StateError::Corrupt { file, reason }) => Self::Missing { file, reason },
            Err(other) => unreachable!("a store in memory says {other}"),
        }
    }

    fn ask(store: &MemoryStore, request: &Request) -> Self {
        match request {
            Request::PutNew(name, bytes) => Self::of(store.put_new(name, bytes), |()| Self::Done),
            Request::Get(name) => Self::of(store.get(name), Self::Bytes),
            Request::Len(name) => Self::of(store.len(name), Self::Len),
            Request::List(folder) => Self::of(store.list(folder), Self::Names),
            Request::Delete(name) => Self::of(store.delete(name), |()| Self::Done),
        }
    }
}

/// The panic that unwinds a role at its first call without an answer.
struct Left;

/// A store that repeats given answers.
struct Replay<'a> {
    answers: &'a [Answer],
    given: Mutex<usize>,
    asked: Mutex<Option<Request>>,
}

impl Replay<'_> {
    fn answer<T>(
        &self,
        request: impl FnOnce() -> Request,
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, StateError> {
        let mut given = self.given.lock().unwrap();
        let Some(answer) = self.answers.get(*given).cloned() else {
            *self.asked.lock().unwrap() = Some(request());
            drop(given);
            // This panic does not call the panic hook, which would print it.
            resume_unwind(Box::new(Left));
        };
        *given += 1;
        match answer {
            Answer::Exists { file, by } => Err(StateError::Fenced { file, by }),
            Answer::Missing { file, reason } => Err(StateError::Corrupt { file, reason }),
            good => Ok(take(good).expect("a role that gets the same answers asks for the same things")),
        }
    }
}

impl CheckpointStore for Replay<'_> {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let is_done = |answer| (answer == Answer::Done).then_some(());
        self.answer(|| Request::PutNew(name.to_owned(), bytes.to_owned()), is_done)
    }
    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let bytes = |answer| if let Answer::Bytes(bytes) = answer { Some(bytes) } else { None };
        self.answer(|| Request::Get(name.to_owned()), bytes)
    }
    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        let len = |answer| if let Answer::Len(len) = answer { Some(len) } else { None };
        self.answer(|| Request::Len(name.to_owned()), len)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let names = |answer| if let Answer::Names(names) = answer { Some(names) } else { None };
        self.answer(|| Request::List(folder.to_owned()), names)
    }
    fn delete(&self, name: &str) -> Result<(), StateError> {
        let is_done = |answer| (answer == Answer::Done).then_some(());
        self.answer(|| Request::Delete(name.to_owned()), is_done)
    }
    fn locate(&self, name: &str) -> String {
        MemoryStore::default().locate(name)
    }
    fn put(&self, name: &str, _bytes: &[u8]) -> Result<(), StateError> {
        unreachable!("no role writes {name}")
    }
    fn adopt(&self, name: &str, _folder: &Path) -> Result<Vec<BaseFile>, StateError> {
        unreachable!("no role writes {name}")
    }
    fn fetch(&self, base: &BaseEntry, _folder: &Path) -> Result<(), StateError> {
        unreachable!("no role reads {}", base.dir)
    }
}

/// The next step of a role after some answers.
struct Next {
    /// The role's next call; `None` at its end.
    asks: Option<Request>,
    /// All events of the role so far.
    events: Vec<Event>,
}

/// A role, and its number.
#[derive(Clone, Copy, Debug)]
struct Player {
    role: Role,
    who: usize,
}

impl Player {
    fn after(self, answers: &[Answer]) -> Next {
        let Self { role, who } = self;
        let store = Replay { answers, given: Mutex::new(0), asked: Mutex::default() };
        let events = RefCell::new(Vec::new());
        let played =
            catch_unwind(AssertUnwindSafe(|| play(role, who, &store, &|event| events.borrow_mut().push(event))));
        match played {
            Ok(end) => assert!(end.is_ok(), "{end:?} of {self:?}"),
            Err(panic) if panic.is::<Left>() => {}
            Err(panic) => resume_unwind(panic),
        }
        Next { asks: store.asked.into_inner().unwrap(), events: events.into_inner() }
    }
}

/// The answers that a role has got: the number of a row of answers in [`Orders::rows`].
type Row = usize;

/// The state of the store and all roles between two calls.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point {
    files: BTreeMap<String, Arc<[u8]>>,
    rows: Vec<Row>,
    events: Vec<Event>,
}

/// A function that gets the result of an order.
type AtEnd = Box<dyn FnMut(&MemoryStore, &[Event])>;

struct Orders {
    players: Vec<Player>,
    /// Rows of answers to a role, each with the role's next step after it.
    rows: Vec<(Vec<Answer>, Rc<Next>)>,
    longer: HashMap<(Row, Answer), Row>,
    /// Number of orders that continue from each point.
    known: HashMap<Point, u128>,
    at_end: AtEnd,
}

impl Orders {
    fn row(&mut self, player: usize, answers: Vec<Answer>) -> Row {
        let next = self.players[player].after(&answers);
        self.rows.push((answers, Rc::new(next)));
        self.rows.len() - 1
    }

    /// Follows every order from a point on. Returns the number of orders.
    fn follow(&mut self, point: Point) -> u128 {
        if let Some(orders) = self.known.get(&point) {
            return *orders;
        }
        let mut orders = 0;
        for player in 0..self.players.len() {
            let row = point.rows[player];
            let next = Rc::clone(&self.rows[row].1);
            let Some(request) = &next.asks else { continue };
            let store = MemoryStore::of(point.files.clone());
            let answer = Answer::ask(&store, request);
            let longer = match self.longer.get(&(row, answer.clone())) {
                Some(longer) => *longer,
                None => {
                    let answers = self.rows[row].0.iter().cloned().chain([answer.clone()]).collect();
                    let longer = self.row(player, answers);
                    self.longer.insert((row, answer), longer);
                    longer
                }
            };
            let mut after = Point { files: store.contents(), ..point.clone() };
            after.rows[player] = longer;
            after.events.extend_from_slice(&self.rows[longer].1.events[next.events.len()..]);
            orders += self.follow(after);
        }
        if orders == 0 {
            (self.at_end)(&MemoryStore::of(point.files.clone()), &point.events);
            orders = 1;
        }
        self.known.insert(point, orders);
        orders
    }
}

/// Follows every order in which the roles can play. Returns the number of orders.
fn follow_every(roles: &[Role], empty: bool, at_end: impl FnMut(&MemoryStore, &[Event]) + 'static) -> u128 {
    let players = roles.iter().enumerate().map(|(who, role)| Player { role: *role, who }).collect();
    let (rows, longer, known) = (Vec::new(), HashMap::new(), HashMap::new());
    let mut orders = Orders { players, rows, longer, known, at_end: Box::new(at_end) };
    let rows: Vec<Row> = (0..roles.len()).map(|player| orders.row(player, Vec::new())).collect();
    let events = rows.iter().flat_map(|row| orders.rows[*row].1.events.clone()).collect();
    let files = stage(roles, empty).contents();
    let count = orders.follow(Point { files, rows, events });
    println!("{count} orders over {} points, {} rows of answers", orders.known.len(), orders.rows.len());
    count
}

/// Checks the result of every order in which the roles can play. Returns the number of orders.
pub(super) fn check_every(roles: &[Role], empty: bool) -> u128 {
    follow_every(roles, empty, check_all)
}

/// Returns the results of all orders, unchecked, and the number of orders.
pub(super) fn ends_of_every(roles: &[Role]) -> (HashSet<End>, u128) {
    let ends = Rc::new(RefCell::new(HashSet::new()));
    let into = Rc::clone(&ends);
    let count = follow_every(roles, false, move |store, events| {
        into.borrow_mut().insert(End::of(store, events));
    });
    (ends.take(), count)
}
