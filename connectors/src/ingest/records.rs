//! The records in a body, and decoders.

use std::sync::Arc;

use hyper::HeaderMap;
use memchr::memchr;
use serde::de::DeserializeOwned;
use tidemill_engine::EventTime;

use crate::json::Json;

/// A decoder, which turns parts of bodies into records.
pub(super) type Decode<T> = Arc<dyn Fn(HttpRecord<'_>) -> Result<T, String> + Send + Sync>;
/// The event time of a record.
pub(super) type EventTimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;

/// A record as a decoder sees it.
#[derive(Clone, Copy)]
pub struct HttpRecord<'a> {
    payload: &'a [u8],
    headers: &'a HeaderMap,
}

impl<'a> HttpRecord<'a> {
    pub(super) fn new(payload: &'a [u8], headers: &'a HeaderMap) -> Self {
        Self { payload, headers }
    }

    /// Returns the bytes of the record: a line, an element of an array, or the whole body, without space around it.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the value of the first header of this name of the request, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Returns a decoder of records in JSON.
pub fn json<T: DeserializeOwned + 'static>() -> impl Fn(HttpRecord<'_>) -> Result<T, String> + Send + Sync + 'static {
    let json = Json::default();
    move |record: HttpRecord<'_>| json.value(record.payload()).map_err(|error| error.to_string())
}

/// Returns a decoder that returns records unchanged.
pub fn raw() -> impl Fn(HttpRecord<'_>) -> Result<Vec<u8>, String> + Send + Sync + 'static {
    |record: HttpRecord<'_>| Ok(record.payload().to_vec())
}

/// What a body consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A value of JSON, or an array of values.
    Json,
    /// A value in each line.
    Lines,
}

impl Form {
    /// Returns the form of a media type; `None` if it is another one.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines" => {
                Some(Self::Lines)
            }
            "application/json" => Some(Self::Json),
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// A record in a body, and which one it is, for messages: a line or an element, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) payload: &'a [u8],
    pub(super) number: usize,
}

/// Returns the records of a body, and at most `limit` and one of them.
pub(super) fn split(form: Form, body: &[u8], limit: usize) -> Result<Vec<Part<'_>>, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match form {
        Form::Lines => Ok(lines(body).take(limit.saturating_add(1)).collect()),
        Form::Json => {
            let body = body.trim_ascii();
            match body.strip_prefix(b"[") {
                Some(rest) => elements(rest, limit),
                None if body.is_empty() => Err("the body is empty".to_owned()),
                None => Ok(vec![Part { payload: body, number: 1 }]),
            }
        }
    }
}

/// Returns the lines that are not blank.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut number = 0;
    let lines = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        Some(Part { payload: line.trim_ascii(), number })
    });
    lines.filter(|part| !part.payload.is_empty())
}

/// Returns the elements of an array, without looking at what they are: the decoder does. `rest` is what stands behind its `[`.
fn elements(rest: &[u8], limit: usize) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let (mut begin, mut depth, mut in_string, mut escaped) = (0, 0_usize, false, false);
    for (at, byte) in rest.iter().enumerate() {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b',' if depth == 0 => {
                let payload = rest[begin..at].trim_ascii();
                let is_last = *byte == b']';
                if payload.is_empty() && !(is_last && parts.is_empty()) {
                    return Err(format!("element {} of the array is missing", parts.len() + 1));
                }
                if !payload.is_empty() {
                    parts.push(Part { payload, number: parts.len() + 1 });
                }
                if parts.len() > limit {
                    return Ok(parts);
                }
                if is_last {
                    let behind = rest[at + 1..].trim_ascii();
                    let wrong =
                        "something stands behind the array: for arrays in lines, the type is application/x-ndjson";
                    return if behind.is_empty() { Ok(parts) } else { Err(wrong.to_owned()) };
                }
                begin = at + 1;
            }
            b']' | b'}' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Err(format!("element {} of the array has a bracket too many", parts.len() + 1)),
            },
            _ => {}
        }
    }
    Err(format!("the array has no end: the body breaks off in element {}", parts.len() + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn texts(form: Form, body: &str) -> Result<Vec<String>, String> {
        let parts = split(form, body.as_bytes(), usize::MAX)?;
        Ok(parts.iter().map(|part| String::from_utf8_lossy(part.payload).into_owned()).collect())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[\\[\\]{},\"\\\\ a\u{e9}\n]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[\\[\\]{},\"\\\\]{0,3}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_those_that_a_parser_finds(values in prop::collection::vec(values(), 0..6), pretty in any::<bool>()) {
            let array = Value::from(values.clone());
            let text = if pretty { serde_json::to_string_pretty(&array) } else { serde_json::to_string(&array) }.unwrap();
            let found: Vec<Value> =
                texts(Form::Json, &text).unwrap().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!(found, values);
        }

        /// What a parser refuses is refused here, or an element is that it refuses.
        #[test]
        fn no_damage_is_taken(values in prop::collection::vec(values(), 0..4), at in any::<prop::sample::Index>(), byte in "[\\[\\]{},\" 1]") {
            let mut text = serde_json::to_string(&values).unwrap().into_bytes();
            let at = at.index(text.len());
            text[at] = byte.as_bytes()[0];
            let text = String::from_utf8_lossy(&text).into_owned();
            let is_array = text.trim_ascii().starts_with('[');
            let parsed = serde_json::from_str::<Value>(&text);
            let found = texts(Form::Json, &text)
                .and_then(|parts| parts.iter().map(|part| serde_json::from_str::<Value>(part).map_err(|e| e.to_string())).collect::<Result<Vec<_>, _>>());
            if is_array {
                prop_assert_eq!(parsed.ok(), found.ok().map(Value::from));
            }
        }
    }

    #[test]
    fn a_body_is_a_value_an_array_or_lines() {
        let json = |body| texts(Form::Json, body);
        assert_eq!(json(" {\"a\": [1]}\r\n").unwrap(), ["{\"a\": [1]}"]);
        assert_eq!(json("\u{feff}7").unwrap(), ["7"]);
        assert_eq!(json("[ 1 , [2, 3], \"]\" ]").unwrap(), ["1", "[2, 3]", "\"]\""]);
        assert_eq!(json("[]").unwrap(), [""; 0]);
        for (body, reason) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("[1", "breaks off in element 1"),
            ("[1,\"]", "breaks off in element 2"),
            ("[1,]", "element 2 of the array is missing"),
            ("[,1]", "element 1 of the array is missing"),
            ("[1]\n[2]", "application/x-ndjson"),
            ("[1}]", "element 1 of the array has a bracket too many"),
        ] {
            let error = json(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
        let lines = split(Form::Lines, b"1\r\n\n  2 \n3", 9).unwrap();
        let lines: Vec<_> = lines.iter().map(|part| (part.payload, part.number)).collect();
        assert_eq!(lines, [(&b"1"[..], 1), (b"2", 3), (b"3", 4)]);
        assert_eq!(split(Form::Lines, b"1\n2\n3\n4", 2).unwrap().len(), 3);
        assert_eq!(split(Form::Json, b"[1,2,3,4", 2).unwrap().len(), 3);
    }

    #[test]
    fn media_types_have_parameters_and_suffixes() {
        for (text, form) in [
            ("application/json", Some(Form::Json)),
            ("application/json;charset=utf-8", Some(Form::Json)),
            ("Application/JSON ; charset=\"utf-8\"", Some(Form::Json)),
            ("application/cloudevents+json", Some(Form::Json)),
            ("application/x-ndjson", Some(Form::Lines)),
            ("text/plain", None),
            ("application/x-www-form-urlencoded", None),
            ("", None),
        ] {
            assert_eq!(Form::of(text), form, "{text}");
        }
    }
}
