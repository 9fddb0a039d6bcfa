//! Requests of OTLP as protobuf (`opentelemetry/proto/collector/trace/v1/trace_service.proto`), and what their answers
//! say.

use crate::spans::{Span, Value};

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// The flag `sampled` of W3C Trace Context.
const SAMPLED: u32 = 1;

/// Returns an `ExportTraceServiceRequest`.
pub(super) fn request(resource: &[(String, Value)], spans: &[Span]) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |to| resource.iter().for_each(|(name, value)| attribute(to, 1, name, value)));
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, "tidemill");
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            spans.iter().for_each(|each| scope_spans.message(2, |to| span(to, each)));
        });
    });
    request.0
}

fn span(to: &mut Writer, span: &Span) {
    let Span { context, parent, name, kind, began, ended, attributes, error } = span;
    to.bytes(1, &context.trace.to_be_bytes());
    to.bytes(2, &context.span.to_be_bytes());
    parent.iter().for_each(|parent| to.bytes(4, &parent.to_be_bytes()));
    to.text(5, name);
    to.number(6, *kind as u64);
    // The clock may have been set back.
    to.fixed64(7, began.0.saturating_mul(1000));
    to.fixed64(8, ended.0.max(began.0).saturating_mul(1000));
    attributes.iter().for_each(|(name, value)| attribute(to, 9, name, value));
    if let Some(error) = error {
        to.message(15, |status| {
            status.text(2, error);
            status.number(3, ERROR);
        });
    }
    to.fixed32(16, SAMPLED);
}

/// Writes a `KeyValue`.
fn attribute(to: &mut Writer, field: u64, name: &str, value: &Value) {
    to.message(field, |pair| {
        pair.text(1, name);
        pair.message(2, |any| match value {
            Value::Text(text) => any.text(1, text),
            Value::Number(number) => any.number(3, *number as u64),
        });
    });
}

/// Returns how many spans of a request the collector has rejected, from its `ExportTraceServiceResponse`, and why. An
/// answer that cannot be read rejects nothing.
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let partial = fields(answer)?.into_iter().find_map(|(field, value)| value.bytes().filter(|_| field == 1))?;
    let (mut spans, mut why) = (0, String::new());
    for (field, value) in fields(partial)? {
        match (field, value) {
            (1, Field::Number(number)) => spans = number,
            (2, Field::Bytes(text)) => why = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    (spans > 0).then_some((spans, why))
}

/// The value of a field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

/// Returns the fields of a message that are numbers, text or messages; `None` if it has others, or is damaged.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Field::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A message that is being written.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.key(field, 0);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.key(field, 1);
        self.0.extend(number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.key(field, 5);
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut message = Self::default();
        write(&mut message);
        self.bytes(field, &message.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Arrival;
    use crate::spans::{Context, Kind};

    #[test]
    fn a_request_is_what_opentelemetrys_own_classes_write() {
        let span = Span {
            context: Context { trace: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, span: 0x1112_1314_1516_1718 },
            parent: Some(0x2122_2324_2526_2728),
            name: "infer".into(),
            kind: Kind::Client,
            began: Arrival(1_000_000),
            ended: Arrival(1_002_500),
            attributes: vec![("server.port", 8500_usize.into()), ("error.type", "failed".into())],
            error: Some("no".to_owned()),
        };
        let resource = [("service.name".to_owned(), Value::from("fraud"))];
        let hex: String = request(&resource, &[span]).iter().map(|byte| format!("{byte:02x}")).collect();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(version, "0.1.0", "the bytes below have the version: write them anew");
        assert_eq!(hex, include_str!("request.hex").trim());
    }

    #[test]
    fn the_answer_says_what_was_rejected_and_damage_says_nothing() {
        assert_eq!(rejected(b""), None);
        assert_eq!(rejected(b"\x0a\x00"), None);
        let answer = b"\x0a\x08\x08\x83\x01\x12\x03bad";
        assert_eq!(rejected(answer), Some((131, "bad".to_owned())));
        (0..answer.len()).for_each(|end| assert_eq!(rejected(&answer[..end]), None, "{end}"));
        assert_eq!(rejected(b"<html>"), None);
    }
}
