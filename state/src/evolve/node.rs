//! The known parts of a type while it is probed, and how they are written as a shape.

use std::fmt::Write as _;

/// The known part of a type.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Node {
    #[default]
    Unseen,
    Plain(&'static str),
    Option(Box<Node>),
    Seq(Box<Node>),
    Map(Box<[Node; 2]>),
    Tuple(Vec<Node>),
    Struct(Vec<(&'static str, Node)>),
    Enum(Vec<Variant>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) met: bool,
    /// Whether the variant accepted the values that were invented for it.
    pub(super) takes: bool,
    pub(super) node: Node,
}

impl Node {
    /// Returns whether an enum in this node has variants that were not met yet.
    pub(super) fn is_pending(&self) -> bool {
        match self {
            Self::Unseen | Self::Plain(_) => false,
            Self::Option(inner) | Self::Seq(inner) => inner.is_pending(),
            Self::Map(pair) => pair.iter().any(Self::is_pending),
            Self::Tuple(nodes) => nodes.iter().any(Self::is_pending),
            Self::Struct(fields) => fields.iter().any(|(_, node)| node.is_pending()),
            Self::Enum(variants) => variants.iter().any(|variant| !variant.met || variant.node.is_pending()),
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Unseen => out.push('?'),
            Self::Plain(name) => out.push_str(name),
            Self::Option(inner) => wrapped(out, "option(", [inner.as_ref()], ")"),
            Self::Seq(inner) => wrapped(out, "[", [inner.as_ref()], "]"),
            Self::Map(pair) => wrapped(out, "map(", pair.iter(), ")"),
            Self::Tuple(nodes) => match nodes.as_slice() {
                [first, .., last] if nodes.len() > 4 && nodes.iter().all(|node| node == last) => {
                    out.push('[');
                    first.write(out);
                    // Writing into a String cannot fail.
                    _ = write!(out, "; {}]", nodes.len());
                }
                nodes => wrapped(out, "(", nodes, ")"),
            },
            Self::Struct(fields) => {
                for (at, (name, node)) in fields.iter().enumerate() {
                    out.push_str(if at == 0 { "{" } else { ", " });
                    write_name(name, out);
                    out.push_str(": ");
                    node.write(out);
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
            Self::Enum(variants) => {
                for (at, Variant { name, node, .. }) in variants.iter().enumerate() {
                    out.push_str(if at == 0 { "<" } else { " | " });
                    write_name(name, out);
                    match node {
                        Self::Plain(UNIT) => {}
                        Self::Unseen | Self::Tuple(_) | Self::Struct(_) => node.write(out),
                        other => wrapped(out, "(", [other], ")"),
                    }
                }
                out.push_str(if variants.is_empty() { "<>" } else { ">" });
            }
        }
    }
}

/// The shape of the unit type.
pub(super) const UNIT: &str = "()";

fn wrapped<'n>(out: &mut String, open: &str, nodes: impl IntoIterator<Item = &'n Node>, close: &str) {
    out.push_str(open);
    for (at, node) in nodes.into_iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        node.write(out);
    }
    out.push_str(close);
}

/// Writes a name with its special characters escaped: a name can be any text (`serde(rename)`), but some characters
/// have a meaning in shapes.
fn write_name(name: &str, out: &mut String) {
    for char in name.chars() {
        if char.is_ascii_alphanumeric() || char == '_' {
            out.push(char);
        } else {
            out.extend(char.escape_unicode());
        }
    }
}
