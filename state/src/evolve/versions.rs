//! The versions of a stored type, and the upgrade of old values to the newest version.
//!
//! ```text
//! Versions::first::<A>() ── then(A → B) ── then(B → C)      version 3 is a C; 1 and 2 are read, and become one
//! ```
//! Every stored value begins with its version. A restore rewrites all rows of an older version before the first record,
//! and the first epoch after a restore takes a base snapshot. So from the first checkpoint on all rows are of the new
//! version, the old type may leave the program, and a value that cannot be read is known at the start. The alternative,
//! to convert each value when it is first used, would start sooner where state is far larger than memory. But then a
//! state would have several versions as long as some key is not used, and the program would have to keep every old type
//! as long.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::codec::{self, DecodeError};
use crate::evolve::shape::Shape;
use crate::key::{Key, Value};

/// The versions of a stored type `V` that a program reads: `V` itself, and older types that are upgraded to it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidemill_state::Versions;
///
/// #[derive(Serialize, Deserialize)]
/// struct ProfileV1 { count: u64 } // as it was
/// #[derive(Serialize, Deserialize)]
/// struct Profile { count: u64, best: i64 }
///
/// let versions = Versions::<ProfileV1>::first().then(|old| Profile { count: old.count, best: 0 });
/// assert_eq!(versions.version(), 2);
/// ```
pub struct Versions<V> {
    version: u32,
    older: Vec<Older<V>>,
    current: PhantomData<fn() -> V>,
}

struct Older<V> {
    version: u32,
    shape: Shape,
    read: Read<V>,
}

/// A function that reads a stored value of an older version and upgrades it to the newest.
type Read<V> = Rc<dyn Fn(&[u8]) -> Result<V, DecodeError>>;

impl<V: Value> Versions<V> {
    /// Creates a single version with number 1, which is the default of a state.
    #[must_use]
    pub fn first() -> Self {
        Self::since(1)
    }

    /// Creates a single version with this number. Older versions are no longer read.
    #[must_use]
    pub fn since(version: u8) -> Self {
        Self { version: u32::from(version), older: Vec::new(), current: PhantomData }
    }

    /// Adds the next version, whose type is `W`. `upgrade` converts a value of the version before.
    #[must_use]
    pub fn then<W: Value>(self, upgrade: impl Fn(V) -> W + 'static) -> Versions<W> {
        self.try_then(move |old| Ok(upgrade(old)))
    }

    /// Adds the next version as [`then`](Self::then) does, with an upgrade that may refuse a value with a reason. If it
    /// refuses one, the job does not start.
    #[must_use]
    pub fn try_then<W: Value>(self, upgrade: impl Fn(V) -> Result<W, String> + 'static) -> Versions<W> {
        let upgrade = Rc::new(upgrade);
        let own = Older { version: self.version, shape: Shape::of::<V>(), read: Rc::new(codec::decode::<V>) };
        let upgraded = |Older { version, shape, read }: Older<V>| {
            let upgrade = Rc::clone(&upgrade);
            let read = move |bytes: &[u8]| upgrade(read(bytes)?).map_err(DecodeError);
            Older { version, shape, read: Rc::new(read) as Read<W> }
        };
        let older = self.older.into_iter().chain([own]).map(upgraded).collect();
        Versions { version: self.version + 1, older, current: PhantomData }
    }

    /// Adds a version with the same type. It is needed where only the elements of a list have changed, or only its
    /// header, because both have the same version.
    #[must_use]
    pub fn unchanged(self) -> Self {
        self.then(|same| same)
    }

    /// Returns the same version numbers for the unit type: the header of a list that has no header.
    #[must_use]
    pub fn of_nothing(&self) -> Versions<()> {
        let oldest = Versions { version: self.oldest(), older: Vec::new(), current: PhantomData };
        (self.oldest()..self.version).fold(oldest, |versions, _| versions.unchanged())
    }

    /// Returns the version of `V`, which is the newest.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the oldest version that is read.
    pub(crate) fn oldest(&self) -> u32 {
        self.older.iter().map(|older| older.version).min().unwrap_or(self.version)
    }

    /// Returns the shape of a version, or `None` if the version is not read.
    pub(crate) fn shape(&self, version: u32) -> Option<Shape> {
        if version == self.version {
            return Some(Shape::of::<V>());
        }
        self.older.iter().find(|older| older.version == version).map(|older| older.shape.clone())
    }

    /// Writes a value of an older version, upgraded to the newest.
    pub(crate) fn upgrade(&self, version: u32, old: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let older = self.older.iter().find(|older| older.version == version);
        let older = older.ok_or_else(|| DecodeError(format!("version {version} is not read")))?;
        codec::encode(&(older.read)(old)?, out)
    }
}

impl<K: Key, V: Value> Versions<BTreeMap<K, V>> {
    /// Adds the next version as [`then`](Self::then) does, by upgrading each value of a map.
    #[must_use]
    pub fn then_each<W: Value>(self, upgrade: impl Fn(V) -> W + 'static) -> Versions<BTreeMap<K, W>> {
        self.then(move |map| map.into_iter().map(|(key, value)| (key, upgrade(value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgraded<T: Value, V: Value + std::fmt::Debug + PartialEq>(
        versions: &Versions<V>,
        version: u32,
        old: &T,
    ) -> Result<V, String> {
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        codec::encode(old, &mut bytes).unwrap();
        versions.upgrade(version, &bytes, &mut out).map_err(|e| e.0)?;
        Ok(codec::decode(&out).unwrap())
    }

    #[test]
    fn every_older_version_goes_through_all_upgrades_after_it() {
        let versions = Versions::<u8>::first()
            .then(|n| (u64::from(n), 7_u8))
            .try_then(|(n, m)| if n == 13 { Err("13 is refused".to_owned()) } else { Ok(format!("{n} {m}")) });
        assert_eq!((versions.version(), versions.oldest()), (3, 1));
        assert_eq!(upgraded(&versions, 1, &5_u8), Ok("5 7".to_owned()));
        assert_eq!(upgraded(&versions, 2, &(300_u64, 1_u8)), Ok("300 1".to_owned()));
        assert_eq!(upgraded(&versions, 1, &13_u8), Err("13 is refused".to_owned()));
        assert!(upgraded(&versions, 4, &5_u8).unwrap_err().contains("version 4"));
        let shapes = (1..=4).map(|version| versions.shape(version).map(|shape| shape.to_string()));
        let known = ["u8", "(u64, u8)", "string"].map(|shape| Some(shape.to_owned()));
        assert_eq!(shapes.collect::<Vec<_>>(), known.into_iter().chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn an_old_version_can_be_given_up() {
        let versions = Versions::<u8>::since(4).unchanged();
        assert_eq!((versions.version(), versions.oldest()), (5, 4));
        assert_eq!(upgraded(&versions, 4, &5_u8), Ok(5_u8));
        assert_eq!(versions.shape(3), None);
    }

    #[test]
    fn the_values_of_a_map_are_upgraded_one_by_one() {
        let versions = Versions::<BTreeMap<u8, u8>>::first().then_each(|n| i64::from(n) * 2);
        let old = BTreeMap::from([(1_u8, 5_u8), (2, 6)]);
        assert_eq!(upgraded(&versions, 1, &old), Ok(BTreeMap::from([(1_u8, 10_i64), (2, 12)])));
    }
}
