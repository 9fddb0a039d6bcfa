//! What the rows of a state look like in each version, whether those of a checkpoint can be read, and how old ones become
//! new ones.

use std::marker::PhantomData;

use crate::codec::{self, DecodeError};
use crate::evolve::shape::{Layout, Shape};
use crate::evolve::spec::{StateEntry, Ttl, TtlClock};
use crate::evolve::versions::Versions;
use crate::key::{Key, Value};

fn clock_of(ttl: Option<Ttl>) -> Option<String> {
    ttl.map(|ttl| match ttl.clock {
        TtlClock::EventTime => "event time".to_owned(),
        TtlClock::ProcessingTime => "processing time".to_owned(),
    })
}

/// How a program reads the rows of a state.
pub(crate) trait StoredRows {
    /// The kind, as in manifests.
    fn kind(&self) -> &'static str;

    /// The version it writes, and the oldest it reads.
    fn versions(&self) -> (u32, u32);

    /// The layout of a version that it reads.
    fn layout(&self, version: u32) -> Layout;

    /// Writes what the `body` of a row becomes: what follows the version of its value.
    fn upgrade(&self, version: u32, row: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError>;

    /// Whether rows come and go, so that a checkpoint without any can be read as anything.
    fn pass_by(&self) -> bool {
        false
    }
}

/// What is to be done with the rows of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They are as the program writes them.
    Same,
    /// They are of this older version.
    Upgrade(u32),
    /// The program does not read them.
    No(Misfit),
}

/// Why rows cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) found: String,
    pub(crate) expected: String,
    /// What can be done in the program.
    pub(crate) advice: &'static str,
}

const OTHER_KIND: &str = "give the state of another kind another name";
const NEWER: &str = "it was written by a newer program";
const TOO_OLD: &str = "start with a program that still reads the old version, take a checkpoint, then this one";
const OTHER_TYPE: &str = "give the changed type a new version (`States::evolving`), or the state another name and the old \
                          one up with drop_state";
const OTHER_KEY: &str = "the type of a key cannot change: give the operator another name, and the old one up with \
                         drop_state";
const OTHER_RECORDS: &str = "timers and records that wait for the watermark keep their types while there are any: give the \
                             operator another name, and the old one up with drop_state";

/// Compares what a checkpoint has with what the program reads.
pub(crate) fn fit(stored: &StateEntry, rows: &dyn StoredRows) -> Fit {
    let (newest, oldest) = rows.versions();
    let version = u32::from(stored.version);
    let (kind, reads) =
        (rows.kind(), if oldest < newest { format!(" (and reads {oldest} on)") } else { String::new() });
    let of = |kind: &str, version: u32| format!("a {kind} state of version {version}");
    let misfit = |found, expected, advice| Fit::No(Misfit { found, expected, advice });
    let known = of(kind, newest) + &reads;
    if stored.kind != kind {
        return misfit(of(&stored.kind, version), known, OTHER_KIND);
    }
    if version > newest || version < oldest {
        return misfit(of(kind, version), known, if version > newest { NEWER } else { TOO_OLD });
    }
    let layout = rows.layout(version);
    match stored.layout.as_ref().and_then(|stored| stored.difference(&layout)) {
        Some((found, expected)) => {
            let advice = match found.split(' ').next() {
                _ if rows.pass_by() => OTHER_RECORDS,
                Some("keys") => OTHER_KEY,
                _ => OTHER_TYPE,
            };
            let with = |what: String| format!("{} with {what}", of(kind, version));
            misfit(with(found), with(expected), advice)
        }
        None if version < newest => Fit::Upgrade(version),
        None => Fit::Same,
    }
}

/// Of a value state.
pub(crate) struct ValueRows<'a, K, V> {
    pub(crate) versions: &'a Versions<V>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) key: PhantomData<K>,
}

impl<K: Key, V: Value> StoredRows for ValueRows<'_, K, V> {
    fn kind(&self) -> &'static str {
        "value"
    }

    fn versions(&self) -> (u32, u32) {
        (self.versions.version(), self.versions.oldest())
    }

    fn layout(&self, version: u32) -> Layout {
        let (key, value) = (Some(Shape::of::<K>()), self.versions.shape(version));
        Layout { key, value, header: None, ttl: clock_of(self.ttl) }
    }

    fn upgrade(&self, version: u32, _row: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let body = copy_expiry(self.ttl, body, out)?;
        self.versions.upgrade(version, body, out)
    }
}

/// Of a log state. Its elements and headers have one version.
pub(crate) struct LogRows<'a, K, V, H> {
    pub(crate) elements: &'a Versions<V>,
    pub(crate) headers: &'a Versions<H>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) key: PhantomData<K>,
}

impl<K: Key, V: Value, H: Value> StoredRows for LogRows<'_, K, V, H> {
    fn kind(&self) -> &'static str {
        "log"
    }

    fn versions(&self) -> (u32, u32) {
        (self.elements.version(), self.elements.oldest().max(self.headers.oldest()))
    }

    fn layout(&self, version: u32) -> Layout {
        let (value, header) = (self.elements.shape(version), self.headers.shape(version));
        Layout { key: Some(Shape::of::<K>()), value, header, ttl: clock_of(self.ttl) }
    }

    fn upgrade(&self, version: u32, row: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let body = copy_expiry(self.ttl, body, out)?;
        let (_, _, sequence) = codec::split_row_key(row)?;
        if sequence.is_empty() {
            self.headers.upgrade(version, body, out)
        } else {
            self.elements.upgrade(version, body, out)
        }
    }
}

/// When a value expires comes before it, and stays as it is.
fn copy_expiry<'b>(ttl: Option<Ttl>, body: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], DecodeError> {
    if ttl.is_none() {
        return Ok(body);
    }
    let (expiry, rest) = body.split_at_checked(8).ok_or_else(|| DecodeError("it is too short".to_owned()))?;
    out.extend_from_slice(expiry);
    Ok(rest)
}

/// Of timers, and of records that wait: they have one version.
pub(crate) struct PassingRows {
    kind: &'static str,
    version: u8,
    layout: Layout,
}

impl PassingRows {
    pub(crate) fn timers<K: Key>(version: u8) -> Self {
        let layout = Layout { key: Some(Shape::of::<K>()), ..Layout::default() };
        Self { kind: "timers", version, layout }
    }

    pub(crate) fn pending<T: Value>(version: u8) -> Self {
        let layout = Layout { value: Some(Shape::of::<T>()), ..Layout::default() };
        Self { kind: "pending", version, layout }
    }
}

impl StoredRows for PassingRows {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn versions(&self) -> (u32, u32) {
        (u32::from(self.version), u32::from(self.version))
    }

    fn layout(&self, _version: u32) -> Layout {
        self.layout.clone()
    }

    fn upgrade(&self, version: u32, _row: &[u8], _body: &[u8], _out: &mut Vec<u8>) -> Result<(), DecodeError> {
        Err(DecodeError(format!("there is no version but {}, and it is of {version}", self.version)))
    }

    fn pass_by(&self) -> bool {
        true
    }
}
