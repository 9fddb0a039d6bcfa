//! A check of JSON against the part of JSON Schema that `openapi.json` uses. A word that it does not know is an error.

use serde_json::Value as Json;

/// Checks `value` against `schema`, whose references are into `document`. The error says where it does not fit.
pub fn check(document: &Json, schema: &Json, value: &Json, at: &str) -> Result<(), String> {
    let wrong = |why: String| Err(format!("{at}: {why}: {value}"));
    for (word, rule) in schema.as_object().ok_or(format!("{at}: no schema"))? {
        match word.as_str() {
            "description" | "required" | "additionalProperties" => {}
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(document, document.pointer(path).ok_or(format!("{at}: no {path}"))?, value, at)?;
            }
            "anyOf" => {
                let fits = |schema: &Json| check(document, schema, value, at).is_ok();
                if !rule.as_array().unwrap().iter().any(fits) {
                    return wrong("none of anyOf fits".to_owned());
                }
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|wanted| is(value, wanted.as_str().unwrap())) {
                    return wrong(format!("not of type {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => return wrong(format!("not one of {rule}")),
            "const" if rule != value => return wrong(format!("not {rule}")),
            "enum" | "const" => {}
            "minimum" if value.as_f64() < rule.as_f64() => return wrong(format!("less than {rule}")),
            "minimum" => {}
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{index}]"))?;
                }
            }
            "properties" => {}
            other => return Err(format!("{at}: the check does not know the word {other}")),
        }
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            return wrong(format!("lacks {name}"));
        }
    }
    for (name, field) in object {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Json::Null, Json::Bool(false)) => return Err(format!("{at}: is not described")),
            (Json::Null, others) if others.is_object() => check(document, others, field, &at)?,
            (Json::Null, _) => {}
            (known, _) => check(document, known, field, &at)?,
        }
    }
    Ok(())
}

fn is(value: &Json, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no such type: {other}"),
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({ "one": { "type": "integer", "minimum": 1 } });
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "$ref": "#/one" }, "b": { "type": "array", "items": { "enum": ["x", "y"] } } }
    });
    let check = |value: Json| check(&document, &schema, &value, "$");
    check(serde_json::json!({ "a": 1, "b": ["x"] })).unwrap();
    for wrong in [
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!({ "a": 0 }),
        serde_json::json!({ "a": 1.5 }),
        serde_json::json!({ "a": 1, "b": ["z"] }),
        serde_json::json!({ "a": 1, "c": 1 }),
    ] {
        check(wrong.clone()).expect_err(&wrong.to_string());
    }
}
