//! Serves the files of the page.

use axum::Router;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::page::ASSETS;

/// Adds the routes of the files.
pub(super) fn add<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    ASSETS.iter().fold(router, |router, asset| {
        let tag = format!("\"{:08x}\"", crc32fast::hash(asset.body.as_bytes()));
        let serve = move |headers: HeaderMap| async move { answer(&headers, &tag, asset.content_type, asset.body) };
        router.route(asset.path, get(serve))
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
