//! The template of a key: `card:{id}` is `card:` and the field `id` of the record.

use super::text::Field;

/// What the keys of markers begin with. No row may have such a key.
pub(super) const MARKER: &str = "tidemill:marker:";

/// A template of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl KeyTemplate {
    /// Parses a template, in which `{{` and `}}` stand for braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("the key \"{text}\" {what}; it should look like card:{{id}}");
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    plain.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) if c != '{' => name.push(c),
                            _ => return Err(wrong("has a { without its }")),
                        }
                    }
                    if name.is_empty() {
                        return Err(wrong("has a {} that names no field"));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(name));
                }
                '}' => return Err(wrong("has a } without its {")),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if parts.is_empty() {
            return Err("the key is empty; it should look like card:{id}".to_owned());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the names of the fields that keys are made of.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Returns whether there is no text between the fields.
    pub(super) fn is_fields_only(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Field(_)))
    }

    /// Returns the key of a record.
    pub(super) fn key(&self, fields: &[Field]) -> Result<Vec<u8>, String> {
        let mut key = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => key.extend(text.bytes()),
                Part::Field(name) => {
                    let value = fields.iter().find(|field| field.name == name).and_then(|field| field.value.as_ref());
                    let null = || format!("field \"{name}\" is null, and the key \"{}\" needs it", self.text);
                    key.extend(value.ok_or_else(null)?);
                }
            }
        }
        if key.is_empty() {
            return Err(format!("the key \"{}\" is empty", self.text));
        }
        if key.starts_with(MARKER.as_bytes()) {
            let key = String::from_utf8_lossy(&key).into_owned();
            return Err(format!("the key \"{key}\" is one of a marker: those that begin with {MARKER} are"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: Option<&str>) -> Field {
        Field { name, value: value.map(|value| value.as_bytes().to_vec()) }
    }

    #[test]
    fn a_key_is_made_of_text_and_fields() {
        let template = KeyTemplate::parse("card:{id}:{{x}}:{day}").unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["id", "day"]);
        let fields = [field("id", Some("7")), field("other", None), field("day", Some("mon"))];
        assert_eq!(template.key(&fields).unwrap(), b"card:7:{x}:mon");
        assert_eq!(KeyTemplate::parse("all").unwrap().key(&[]).unwrap(), b"all");
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_field() {
        for (text, says) in [
            ("", "is empty"),
            ("a{b", "{ without its }"),
            ("a}b", "} without its {"),
            ("a{}", "names no field"),
            ("{a{b}}", "{ without"),
        ] {
            let error = KeyTemplate::parse(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let template = KeyTemplate::parse("{id}").unwrap();
        for (fields, says) in [
            (vec![field("id", None)], "field \"id\" is null, and the key \"{id}\" needs it"),
            (vec![], "is null"),
            (vec![field("id", Some(""))], "the key \"{id}\" is empty"),
            (vec![field("id", Some("tidemill:marker:x:0"))], "is one of a marker"),
        ] {
            let error = template.key(&fields).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
