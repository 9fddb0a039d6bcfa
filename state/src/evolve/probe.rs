//! Probing: finds out what a type's `Deserialize` asks for, by giving it invented values. [`Shape`](crate::Shape) is
//! built on it.
//!
//! This is our own code, because the existing crate (serde-reflection) identifies types by their short names: two types
//! of the same name in different modules, or `Record<A>` and `Record<B>`, are one type to it, and it cannot follow
//! enums inside private types.
//!
//! Enums are followed one variant at a time: the type is deserialised again until all variants of all enums were met.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, VariantAccess, Visitor, value::Error,
};
use serde::forward_to_deserialize_any;

use super::node::{Node, UNIT, Variant};

/// The progress of probing one type.
#[derive(Default)]
struct Look {
    calls: Cell<usize>,
    /// The structs and enums that are being deserialised, from the outside in.
    within: RefCell<Vec<(&'static str, &'static [&'static str])>>,
}

impl Look {
    /// Maximum number of calls to the deserializer, after which a type is not followed further.
    const CALLS: usize = 100_000;
    const DEPTH: usize = 64;
    /// Number of times that a type may be within itself before it counts as endless. A generic type may be within
    /// itself and yet end, such as an `Either` of an `Either`.
    const WITHIN_ITSELF: usize = 3;
}

/// Returns the shape of `T` as text.
pub(crate) fn probe<T: DeserializeOwned>() -> String {
    let (mut node, look) = (Node::Unseen, Look::default());
    loop {
        look.within.borrow_mut().clear();
        // Users' code gets values that it never wrote, so it may panic. The deserialised value is dropped.
        let ended = catch_unwind(AssertUnwindSafe(|| T::deserialize(Prober { node: &mut node, look: &look }).is_ok()));
        if ended.is_err() {
            tracing::debug!(r#type = std::any::type_name::<T>(), "its Deserialize panics at invented values");
        }
        if !node.is_pending() || look.calls.get() > Look::CALLS {
            let mut text = String::new();
            node.write(&mut text);
            return text;
        }
    }
}

/// A deserializer that invents the values it is asked for, and records what they are.
struct Prober<'t> {
    node: &'t mut Node,
    look: &'t Look,
}

impl<'t> Prober<'t> {
    fn enter(self) -> Result<(&'t mut Node, &'t Look), Error> {
        self.look.calls.set(self.look.calls.get() + 1);
        if self.look.calls.get() > Look::CALLS || self.look.within.borrow().len() > Look::DEPTH {
            return Err(Error::custom("the type has no end"));
        }
        Ok((self.node, self.look))
    }

    fn plain(self, name: &'static str) -> Result<(), Error> {
        *self.enter()?.0 = Node::Plain(name);
        Ok(())
    }

    /// Enters a named type, which `f` deserialises.
    fn within<R>(
        self,
        name: &'static str,
        parts: &'static [&'static str],
        f: impl FnOnce(&mut Node, &Look) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (node, look) = self.enter()?;
        if look.within.borrow().iter().filter(|outer| **outer == (name, parts)).count() >= Look::WITHIN_ITSELF {
            return Err(Error::custom("the type is within itself"));
        }
        look.within.borrow_mut().push((name, parts));
        let result = f(node, look);
        look.within.borrow_mut().pop();
        result
    }
}

fn fields<'n>(node: &'n mut Node, names: &[&'static str]) -> Vec<&'n mut Node> {
    if !matches!(node, Node::Struct(_)) {
        *node = Node::Struct(names.iter().map(|name| (*name, Node::Unseen)).collect());
    }
    match node {
        Node::Struct(fields) => fields.iter_mut().map(|(_, node)| node).collect(),
        _ => Vec::new(),
    }
}

fn elements(node: &mut Node, len: usize) -> Vec<&mut Node> {
    if !matches!(node, Node::Tuple(nodes) if nodes.len() == len) {
        *node = Node::Tuple(vec![Node::Unseen; len]);
    }
    match node {
        Node::Tuple(nodes) => nodes.iter_mut().collect(),
        _ => Vec::new(),
    }
}

/// Deserializes plain values. Integers are 1 and texts "1": types that check their values accept these more often than
/// 0 or an empty text.
macro_rules! plain {
    ($($method:ident: $name:literal => $visit:ident($value:expr),)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.plain($name)?;
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Prober<'_> {
    type Error = Error;

    plain! {
        deserialize_bool: "bool" => visit_bool(false),
        deserialize_i8: "i8" => visit_i8(1),
        deserialize_i16: "i16" => visit_i16(1),
        deserialize_i32: "i32" => visit_i32(1),
        deserialize_i64: "i64" => visit_i64(1),
        deserialize_i128: "i128" => visit_i128(1),
        deserialize_u8: "u8" => visit_u8(1),
        deserialize_u16: "u16" => visit_u16(1),
        deserialize_u32: "u32" => visit_u32(1),
        deserialize_u64: "u64" => visit_u64(1),
        deserialize_u128: "u128" => visit_u128(1),
        deserialize_f32: "f32" => visit_f32(1.0),
        deserialize_f64: "f64" => visit_f64(1.0),
        deserialize_char: "char" => visit_char('1'),
        deserialize_str: "string" => visit_borrowed_str("1"),
        deserialize_string: "string" => visit_borrowed_str("1"),
        // 16 bytes, as many as a UUID has.
        deserialize_bytes: "bytes" => visit_borrowed_bytes(&[1; 16]),
        deserialize_byte_buf: "bytes" => visit_borrowed_bytes(&[1; 16]),
    }

    /// Refuses, because the encoding does not describe its types: a type that needs this cannot be stored either.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("the type does not say what it reads"))
    }

    forward_to_deserialize_any! { identifier ignored_any }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (node, look) = self.enter()?;
        if !matches!(node, Node::Option(_)) {
            *node = Node::Option(Box::default());
        }
        let Node::Option(node) = node else { return visitor.visit_none() };
        visitor.visit_some(Prober { node, look })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain(UNIT)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.within(name, &[], |node, look| visitor.visit_newtype_struct(Prober { node, look }))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (node, look) = self.enter()?;
        if !matches!(node, Node::Seq(_)) {
            *node = Node::Seq(Box::default());
        }
        let nodes = if let Node::Seq(node) = node { vec![node.as_mut()] } else { Vec::new() };
        visitor.visit_seq(Parts { nodes: nodes.into_iter(), look })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let (node, look) = self.enter()?;
        visitor.visit_seq(Parts { nodes: elements(node, len).into_iter(), look })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.within(name, &[], |node, look| visitor.visit_seq(Parts { nodes: elements(node, len).into_iter(), look }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (node, look) = self.enter()?;
        if !matches!(node, Node::Map(_)) {
            *node = Node::Map(Box::default());
        }
        let nodes = if let Node::Map(pair) = node { pair.iter_mut().collect() } else { Vec::new() };
        visitor.visit_map(Parts { nodes: nodes.into_iter(), look })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.within(name, names, |node, look| visitor.visit_seq(Parts { nodes: fields(node, names).into_iter(), look }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.within(name, names, |node, look| {
            if !matches!(node, Node::Enum(_)) {
                let unmet = |name: &&'static str| Variant { name, met: false, takes: false, node: Node::Unseen };
                *node = Node::Enum(names.iter().map(unmet).collect());
            }
            let Node::Enum(variants) = node else { return Err(Error::custom("no enum")) };
            let open = variants.iter().position(|variant| !variant.met || variant.node.is_pending());
            let index = open.or_else(|| variants.iter().position(|variant| variant.takes)).unwrap_or(0);
            let variant = variants.get_mut(index).ok_or_else(|| Error::custom("the enum has no variants"))?;
            variant.met = true;
            let inner = Prober { node: &mut variant.node, look };
            let result = visitor.visit_enum(OneVariant { index: index as u32, inner });
            variant.takes = result.is_ok();
            result
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a sequence, a tuple, a struct, or a map of one entry.
struct Parts<'t> {
    nodes: std::vec::IntoIter<&'t mut Node>,
    look: &'t Look,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let look = self.look;
        self.nodes.next().map(|node| seed.deserialize(Prober { node, look })).transpose()
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.next_element_seed(seed)?.ok_or_else(|| Error::custom("a value without a key"))
    }
}

struct OneVariant<'t> {
    index: u32,
    inner: Prober<'t>,
}

impl<'de, 't> EnumAccess<'de> for OneVariant<'t> {
    type Error = Error;
    type Variant = Prober<'t>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Prober<'t>), Error> {
        Ok((seed.deserialize(self.index.into_deserializer())?, self.inner))
    }
}

impl<'de> VariantAccess<'de> for Prober<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.plain(UNIT)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, names: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let (node, look) = self.enter()?;
        visitor.visit_seq(Parts { nodes: fields(node, names).into_iter(), look })
    }
}
