//! `tidemill job graph`.

use serde_json::Value;

use super::client::Client;
use super::gathered::text;
use crate::args::job::At;
use crate::failure::Failure;
use crate::report::{self, table};

pub fn run(at: &At, json: bool) -> Result<String, Failure> {
    let graph = Client::of(at)?.get("graph")?;
    if json { Ok(report::json(&graph)?) } else { Ok(words(&graph)) }
}

/// Returns a row for each operator, from left to right as the page draws them.
fn words(graph: &Value) -> String {
    let list = |of: &str| graph[of].as_array().cloned().unwrap_or_default();
    let (mut nodes, edges) = (list("nodes"), list("edges"));
    nodes.sort_by_key(|node| (node["column"].as_u64(), node["row"].as_u64()));
    let name =
        |id: &Value| nodes.iter().find(|node| node["id"] == *id).map_or_else(String::new, |node| text(&node["name"]));
    let row = |node: &Value| {
        let feeds = edges.iter().filter(|edge| edge["from"] == node["id"]).map(|edge| {
            let how = match (edge["dead_letters"].as_bool(), edge["exchange"].as_bool()) {
                (Some(true), _) => " (dead letters)",
                (_, Some(true)) => " (exchange)",
                _ => "",
            };
            name(&edge["to"]) + how
        });
        let feeds: Vec<String> = feeds.collect();
        let workers = node["workers"].as_u64().unwrap_or_default().to_string();
        vec![text(&node["name"]), text(&node["kind"]), workers, feeds.join(", ")]
    };
    if nodes.is_empty() {
        return "the job starts: its graph is not built yet\n".to_owned();
    }
    table(&["OPERATOR", "KIND", "WORKERS", "FEEDS"], &nodes.iter().map(row).collect::<Vec<_>>())
}
