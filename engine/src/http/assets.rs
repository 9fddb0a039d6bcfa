//! The files of the page, which are part of the program.

use axum::Router;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files: where each is, of which type, and its content.
const FILES: [(&str, &str, &str); 3] = [
    ("/", HTML, include_str!("page.html")),
    ("/app/page.css", CSS, include_str!("page.css")),
    ("/app/page.js", SCRIPT, include_str!("page.js")),
];

/// Adds the routes of the files.
pub(super) fn add<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.iter().fold(router, |router, (path, kind, content)| {
        let tag = format!("\"{:08x}\"", crc32fast::hash(content.as_bytes()));
        router.route(path, get(move |headers: HeaderMap| async move { answer(&headers, &tag, kind, content) }))
    })
}

fn answer(headers: &HeaderMap, tag: &str, kind: &'static str, content: &'static str) -> Response {
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    let mut response = if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// A number that an operator does not have made the script of the page fail: the page then said that the job was
    /// not reachable.
    #[test]
    fn the_page_shows_only_counters_that_each_operator_has() {
        let metrics = Metrics::default();
        let kinds = ["source", "keyed", "batch", "sink", "map"];
        let _operators = kinds.map(|kind| metrics.operator(kind, kind, 0));
        let script = include_str!("page.js");
        let shown: Vec<&str> = script.split("number(c.").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(shown.len() >= 4, "{shown:?}");
        for operator in metrics.snapshot() {
            let has = |name: &&&str| operator.counters.contains_key(**name) || name.contains("??");
            assert!(shown.iter().all(|name| has(&name)), "{shown:?} of {operator:?}");
        }
    }

    /// The policy of the answers forbids scripts and styles within the page: a browser would not run them.
    #[test]
    fn the_page_has_no_script_and_no_style_of_its_own() {
        for (path, _, content) in FILES.iter().filter(|(_, kind, _)| *kind == HTML) {
            for inline in ["<style", "<script>", " style=", " onclick="] {
                assert!(!content.contains(inline), "{path}: {inline}");
            }
        }
    }
}
