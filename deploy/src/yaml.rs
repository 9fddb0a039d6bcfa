//! Writes YAML: as much of it as rules and their tests need. The reader is Prometheus' own, in tests.

use std::fmt::Write;

/// A value in a file.
#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    /// A number, a truth value, or a length of time: text that needs no quotes.
    Plain(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

pub fn text(text: impl Into<String>) -> Node {
    Node::Text(text.into())
}

pub fn plain(value: impl ToString) -> Node {
    Node::Plain(value.to_string())
}

pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Node)>) -> Node {
    Node::Map(entries.into_iter().map(|(key, node)| (key.into(), node)).collect())
}

/// Returns the text of a file below these lines of comment.
pub fn file(comment: &str, node: &Node) -> String {
    let mut to: String = comment.lines().map(|line| format!("# {line}\n")).collect();
    value(&mut to, node, 0);
    to
}

// Writing to a string cannot fail, so the results of `write!` are dropped.

/// Writes a value that begins on a line of its own.
fn value(to: &mut String, node: &Node, indent: usize) {
    let space = " ".repeat(indent);
    match node {
        Node::Map(entries) => {
            for (key, node) in entries {
                _ = write!(to, "{space}{key}:");
                after_key(to, node, indent);
            }
        }
        Node::List(items) => {
            for item in items {
                let mut written = String::new();
                value(&mut written, item, indent + 2);
                // The first line stands beside the dash.
                _ = write!(to, "{space}- {}", written.trim_start_matches(' '));
            }
        }
        Node::Text(_) | Node::Plain(_) => {
            to.push_str(&space);
            scalar(to, node, indent);
        }
    }
}

fn after_key(to: &mut String, node: &Node, indent: usize) {
    match node {
        Node::List(items) if items.is_empty() => to.push_str(" []\n"),
        Node::Map(_) | Node::List(_) => {
            to.push('\n');
            value(to, node, indent + 2);
        }
        Node::Text(_) | Node::Plain(_) => {
            to.push(' ');
            scalar(to, node, indent);
        }
    }
}

fn scalar(to: &mut String, node: &Node, indent: usize) {
    match node {
        Node::Text(text) if text.contains('\n') => {
            to.push_str("|-\n");
            let space = " ".repeat(indent + 2);
            text.lines().for_each(|line| _ = writeln!(to, "{space}{line}"));
        }
        // The strings of JSON are strings of YAML.
        Node::Text(text) => _ = writeln!(to, "{}", serde_json::Value::from(text.as_str())),
        Node::Plain(text) => _ = writeln!(to, "{text}"),
        Node::List(_) | Node::Map(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lists_and_blocks_are_indented() {
        let rule =
            map([("expr", text("a\n  and b")), ("for", plain("5m")), ("labels", map([("x", text("y: \"z\""))]))]);
        let node = map([("rules", Node::List(vec![rule])), ("none", Node::List(Vec::new()))]);
        let expected = "# made\nrules:\n  - expr: |-\n      a\n        and b\n    for: 5m\n    labels:\n      x: \"y: \\\"z\\\"\"\nnone: []\n";
        assert_eq!(file("made", &node), expected);
    }
}
