//! Servers over REST that implement only what the tests need.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::score;

/// The texts for NaN, infinity and minus infinity: of Python and RapidJSON; of writers of strict JSON; as JSON
/// strings; of C; of RapidJSON without a setting for them.
pub const WRITTEN: [[&str; 3]; 5] = [
    ["NaN", "Infinity", "-Infinity"],
    ["null", "null", "null"],
    ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""],
    ["-nan", "inf", "-inf"],
    ["", "", ""],
];

/// Starts a server that answers with `answer`, given path and body, until the process ends. Returns its port.
pub fn serve(answer: impl Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    let respond = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        super::traced::note(&headers);
        let answer = Arc::clone(&answer);
        // An answer may take its time, and others must not wait for it.
        let answer = tokio::task::spawn_blocking(move || answer(uri.path(), &body));
        async move { answer.await.unwrap().map_or((StatusCode::NOT_FOUND, String::new()), |text| (StatusCode::OK, text)) }
    };
    let router = Router::new().fallback(respond).layer(DefaultBodyLimit::disable());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await })
    });
    port
}

fn written(score: f32, [nan, above, below]: [&str; 3]) -> String {
    match score {
        score if score.is_nan() => nan.to_owned(),
        f32::INFINITY => above.to_owned(),
        f32::NEG_INFINITY => below.to_owned(),
        // The score is written as Python writes it.
        score => json!(f64::from(score)).to_string(),
    }
}

fn scores(cells: &[Value], how: [&str; 3]) -> String {
    let cells: Vec<f32> = cells.iter().map(|cell| cell.as_f64().unwrap() as f32).collect();
    cells.chunks(2).map(|row| written(score(row), how)).collect::<Vec<_>>().join(", ")
}

/// Answers a call of the Open Inference Protocol. The answers contain texts that must not be taken for numbers. `rows`
/// is the number of rows that the model requires according to its metadata, or -1.
pub fn oip(path: &str, body: &[u8], how: [&str; 3], rows: i64) -> Option<String> {
    if path.ends_with("/ready") {
        return Some(String::new());
    }
    if !path.ends_with("/infer") {
        let tensor = |name: &str, shape: &[i64]| json!({ "name": name, "datatype": "FP32", "shape": shape });
        let (wish, score) = (tensor("wish", &[rows, 2]), tensor("score", &[-1]));
        return Some(json!({ "name": "m", "versions": ["1"], "inputs": [wish], "outputs": [score] }).to_string());
    }
    let request: Value = serde_json::from_slice(body).unwrap();
    let cells = request["inputs"][0]["data"].as_array().unwrap();
    if rows >= 0 && request["inputs"][0]["shape"] != json!([rows, 2]) {
        return None;
    }
    let (rows, scores) = (cells.len() / 2, scores(cells, how));
    Some(format!(
        r#"{{"model_name": "NaN, \"-inf\\", "outputs": [{{"name": "score", "datatype": "FP32", "shape": [{rows}, 1], "data": [{scores}]}}]}}"#
    ))
}

/// Answers a call of TensorFlow Serving's protocol.
pub fn tfs(path: &str, body: &[u8], how: [&str; 3]) -> Option<String> {
    if path.ends_with("/metadata") {
        return None;
    }
    if !path.ends_with(":predict") {
        return Some("{}".to_owned());
    }
    let request: Value = serde_json::from_slice(body).unwrap();
    let rows = request["instances"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap().clone());
    Some(format!("{{\"predictions\": [{}\n]}}", scores(&rows.collect::<Vec<_>>(), how)))
}
