//! JSON lines: an object on each, with the fields of the key, with `features`, and on the served side with `model`.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::cell::Cell;
use super::row::{FeatureRow, Names, Place, Visit, Wanted, key_of, unreadable};
use super::values::{CellsSeed, KeyText};
use crate::failure::Failure;

/// Reads a file. Returns the number of its rows.
pub fn read(
    path: &Path,
    is_compressed: bool,
    wanted: &Wanted<'_>,
    names: &mut Names,
    visit: Visit<'_>,
) -> Result<u64, Failure> {
    let file = BufReader::with_capacity(1 << 18, File::open(path).map_err(|error| unreadable(path, &error))?);
    let mut input: Box<dyn BufRead> =
        if is_compressed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
    let (mut line, mut rows) = (Vec::new(), 0);
    for number in 1.. {
        let place = Place { path, unit: "line", number };
        line.clear();
        let length = input.read_until(b'\n', &mut line);
        // A file of gzip that ends too early is a fault of its content, as a line that does is.
        if length.map_err(|error| place.failure(format!("cannot be read: {error}")))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = parse(&line, wanted, names).map_err(|why| place.failure(why))?;
        rows += 1;
        if let Some(row) = row {
            visit(&place, row)?;
        }
    }
    Ok(rows)
}

/// Parses a line. Returns no row if its key is not in the sample.
fn parse(line: &[u8], wanted: &Wanted<'_>, names: &mut Names) -> Result<Option<FeatureRow>, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let seed = LineSeed { wanted, names };
    let parsed = seed.deserialize(&mut json).and_then(|parsed| json.end().map(|()| parsed));
    let Line { key, model, cells } = parsed.map_err(|error| why(line, &error))?;
    let missing = wanted.keys.iter().zip(&key).find(|(_, text)| text.is_none());
    if let Some((name, _)) = missing {
        return Err(format!("it has no \"{name}\", which is part of the key; it has {}", fields(line)));
    }
    let key = key_of(key.into_iter().flatten().collect());
    if !wanted.sample.takes(&key) {
        return Ok(None);
    }
    match cells {
        Some(cells) => Ok(Some(FeatureRow { key, model, cells, is_flat: false })),
        None => Err(format!("it has no \"features\"; it has {}", fields(line))),
    }
}

/// Says what is wrong with a line.
fn why(line: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The line that serde counts is always the first one.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if error.is_eof() && !line.ends_with(b"\n") {
        return format!(
            "the last line is not complete ({text}): was the program that writes it stopped, or does it still run?"
        );
    }
    format!("column {}: {text}", error.column())
}

/// Returns the names of the fields of a line, for a message.
fn fields(line: &[u8]) -> String {
    match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) if !fields.is_empty() => fields.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => "no fields".to_owned(),
    }
}

/// What a line has; the features are left out if its key is not in the sample.
struct Line {
    key: Vec<Option<String>>,
    model: Option<String>,
    cells: Option<Vec<Cell>>,
}

/// Reads a line without a tree of its values: most of the time goes into this.
struct LineSeed<'a, 'w> {
    wanted: &'a Wanted<'w>,
    names: &'a mut Names,
}

impl<'de> DeserializeSeed<'de> for LineSeed<'_, '_> {
    type Value = Line;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_, '_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let keys = self.wanted.keys;
        let mut line = Line { key: vec![None; keys.len()], model: None, cells: None };
        while let Some(field) = map.next_key_seed(FieldSeed(keys))? {
            match field {
                Field::Key(at) => {
                    let KeyText(text) = map.next_value()?;
                    if keys.get(at).is_some_and(|name| name == "model") {
                        line.model = Some(text.clone());
                    }
                    if line.key.get_mut(at).is_some_and(|place| place.replace(text).is_some()) {
                        return Err(A::Error::custom("a field of the key is there twice"));
                    }
                }
                Field::Model => line.model = map.next_value::<Option<KeyText>>()?.map(|KeyText(text)| text),
                Field::Features if self.is_left_out(&line.key) => {
                    map.next_value::<IgnoredAny>()?;
                }
                Field::Features => {
                    let cells = map.next_value_seed(CellsSeed(&mut *self.names))?;
                    if line.cells.replace(cells).is_some() {
                        return Err(A::Error::custom("\"features\" is there twice"));
                    }
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(line)
    }
}

impl LineSeed<'_, '_> {
    /// Returns whether the key is known already, and is not in the sample.
    fn is_left_out(&self, key: &[Option<String>]) -> bool {
        let texts: Option<Vec<String>> = key.iter().cloned().collect();
        self.wanted.sample.0 < 1.0 && texts.is_some_and(|texts| !self.wanted.sample.takes(&key_of(texts)))
    }
}

enum Field {
    Key(usize),
    Model,
    Features,
    Other,
}

struct FieldSeed<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
        let at = self.0.iter().position(|key| key == name);
        Ok(match name {
            _ if let Some(at) = at => Field::Key(at),
            "model" => Field::Model,
            "features" => Field::Features,
            _ => Field::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parity::Share;

    fn parsed(line: &str, keys: &[&str]) -> Result<Option<FeatureRow>, String> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        parse(line.as_bytes(), &Wanted { keys: &keys, sample: Share(1.0) }, &mut Names::new(&[]))
    }

    #[test]
    fn values_are_read_as_programs_write_them() {
        let line =
            r#"{"tx_id":7,"model":"m/1","features":{"a":null,"b":-0.0,"c":"Infinity","d":"DE","e":true,"f":[1, 2]}}"#;
        let row = parsed(line, &["tx_id"]).unwrap().unwrap();
        assert_eq!((row.key.as_str(), row.model.as_deref()), ("7", Some("m/1")));
        let shown: Vec<String> = row.cells.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["null", "-0.0", "\"Infinity\"", "\"DE\"", "1.0", "[1,2]"]);
        let row = parsed(r#"{"features":{},"b":"x","model":null,"a":2.0}"#, &["a", "b"]).unwrap().unwrap();
        assert_eq!((row.key.as_str(), row.model, row.cells.len()), (r#"["2","x"]"#, None, 0));
    }

    #[test]
    fn the_last_bit_of_a_number_is_read() {
        for bits in [0x3fb9_9999_9999_999a_u64, 0x3fb9_9999_9999_999b, 0x0000_0000_0000_0001, 0x7fef_ffff_ffff_ffff] {
            let number = f64::from_bits(bits);
            let row = parsed(&format!(r#"{{"k":1,"features":{{"a":{number:?}}}}}"#), &["k"]).unwrap().unwrap();
            assert_eq!(row.cells, [Cell::Number(number)], "{number:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let error = |line: &str| parsed(line, &["tx_id"]).unwrap_err();
        assert_eq!(error("tx_id,ts\n"), "column 2: expected ident");
        assert!(error("{\"tx_id\":7,\"feat").starts_with("the last line is not complete"));
        assert_eq!(error("{\"ts\":7}"), "it has no \"tx_id\", which is part of the key; it has ts");
        assert_eq!(error("{\"tx_id\":7,\"score\":1}"), "it has no \"features\"; it has score, tx_id");
        assert!(error("{\"tx_id\":null}").contains("invalid type: null, expected a text or a number"));
        assert!(error("{\"tx_id\":7,\"features\":[1]}").contains("expected \"features\" to be an object"));
        assert!(error("{\"tx_id\":7,\"features\":{\"a\":1,\"a\":2}}").contains("a feature is there twice"));
        assert!(error("{\"tx_id\":7,\"features\":{}} {}").contains("trailing characters"));
        assert!(error("[7]").contains("expected an object"));
        assert!(error("{\"tx_id\":7,\"features\":{\"a\":1e999}}").contains("number out of range"));
    }
}
