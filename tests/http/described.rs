//! `openapi.json` says what a running job answers: each route is asked, and each answer is compared with its schema.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::client::{ask, get};
use super::job;
use super::schema::check;

fn fits(document: &Json, schema: &Json, answer: &Json, path: &str) {
    check(document, schema, answer, path).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn each_answer_of_the_api_is_as_openapi_json_says() {
    let job = job::start();
    // With rates, rows, and parts of checkpoints.
    job.wait_until("/api/v1/history", |history| history["rows"].as_array().unwrap().len() >= 2);
    let document = get(job.address, "/api/v1/openapi.json").json();
    let mut asked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(method) = methods.get("get") else { continue };
        let query = if path.ends_with("/tail") { "?stream=dead-letters" } else { "" };
        let content = &method["responses"]["200"]["content"];
        if content.get("text/event-stream").is_none() {
            let answer = get(job.address, &format!("{path}{query}"));
            assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/json"), "{path}");
            fits(&document, &content["application/json"]["schema"], &answer.json(), path);
        }
        asked.insert(path.as_str());
    }
    assert!(asked.len() >= 10, "{asked:?}");
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    fits(&document, &schema("Problem"), &get(job.address, "/no/such/page").json(), "a problem");
    for path in ["/api/v1/checkpoint", "/api/v1/savepoints", "/api/v1/stop"] {
        let answer = ask(job.address, "POST", path, &[&job.token()], "");
        let described = &document["paths"][path]["post"]["responses"]["202"]["content"]["application/json"]["schema"];
        assert_eq!(answer.status, 202, "{path}");
        fits(&document, described, &answer.json(), path);
    }
}
