//! The layout of a state's rows in each version, whether the rows of a checkpoint can be read, and the upgrade of old
//! rows.

use std::marker::PhantomData;

use crate::codec::{self, DecodeError};
use crate::evolve::shape::{Layout, Shape};
use crate::evolve::spec::{StateEntry, Ttl, TtlClock};
use crate::evolve::versions::Versions;
use crate::key::{Key, Value};
use crate::packed::{self, Packed};

fn clock_of(ttl: Option<Ttl>) -> Option<String> {
    ttl.map(|ttl| match ttl.clock {
        TtlClock::EventTime => "event time".to_owned(),
        TtlClock::ProcessingTime => "processing time".to_owned(),
    })
}

/// The form in which a program reads the rows of a state.
pub(crate) trait StoredRows {
    /// Returns the kind of the state, as in manifests.
    fn kind(&self) -> &'static str;

    /// Returns the version that the program writes, and the oldest that it reads.
    fn versions(&self) -> (u32, u32);

    /// Returns the layout of a version that the program reads.
    fn layout(&self, version: u32) -> Layout;

    /// Writes the newest version of a row's `body`, which is of `version`. The body is the part of the row's value
    /// after the version.
    fn upgrade(&self, version: u32, row: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError>;

    /// Returns whether rows come and go, so that a checkpoint without any rows of the state fits every layout.
    fn pass_by(&self) -> bool {
        false
    }
}

/// What a restore does with the rows of a state in the checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Nothing: the rows are as the program writes them.
    Same,
    /// Upgrade the rows, which are of this older version.
    Upgrade(u32),
    /// Refuse the rows, which the program cannot read.
    No(Misfit),
}

/// The reason why a program cannot read the rows of a state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) found: String,
    pub(crate) expected: String,
    /// What can be changed in the program.
    pub(crate) advice: &'static str,
}

const OTHER_KIND: &str = "give the state of another kind another name";
const NEWER: &str = "it was written by a newer program";
const TOO_OLD: &str = "start with a program that still reads the old version, take a checkpoint, then this one";
const OTHER_TYPE: &str = "give the changed type a new version (`States::evolving`), or the state another name and \
    discard the old one with drop_state";
const OTHER_KEY: &str = "the type of a key cannot change: give the operator another name, and discard the old one \
    with drop_state";
const OTHER_RECORDS: &str = "timers and records that wait for the watermark keep their types while there are any: give the \
                             operator another name, and discard the old one with drop_state";

/// Compares a state in the checkpoint with the form in which the program reads it.
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

/// The rows of a value state.
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

/// The rows of a log state. Elements and headers have the same version.
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
        let (_, _, suffix) = codec::split_row_key(row)?;
        let header = |old: &[u8], out: &mut Vec<u8>| self.headers.upgrade(version, old, out);
        let element = |old: &[u8], out: &mut Vec<u8>| self.elements.upgrade(version, old, out);
        match suffix {
            [] => header(body, out),
            packed::SUFFIX => Packed::read(body)?.renew(header, element, out),
            _ => element(body, out),
        }
    }
}

/// Copies the time when a value expires, which comes before the value and stays as it is. Returns the rest of the body.
fn copy_expiry<'b>(ttl: Option<Ttl>, body: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], DecodeError> {
    if ttl.is_none() {
        return Ok(body);
    }
    let (expiry, rest) = body.split_at_checked(8).ok_or_else(|| DecodeError("it is too short".to_owned()))?;
    out.extend_from_slice(expiry);
    Ok(rest)
}

/// The rows of timers or of pending records. Only one version of them is read.
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
