//! The protobuf format of `/metrics`, for those who ask for it: the samples of the text, and native histograms, which
//! no text format has.
//!
//! The messages are those of `io/prometheus/client/metrics.proto`, of which there are few and which do not change, so
//! they are written field by field. Types made by prost's macro would have the same content, and its macro would have
//! RocksDB compiled anew for all who build this.

use prost::encoding::{self, WireType};

use super::family::{Family, Kind};
use super::histogram::Counts;
use super::native::{Native, SCHEMA};
use super::samples::{Samples, Value};

/// Values up to this count as 0: less than the smallest unit that is measured. Readers take a histogram without it and
/// without values for one that has no native buckets.
const ZERO_THRESHOLD: f64 = 1e-9;

impl Samples {
    /// Writes all samples: a `MetricFamily` for each family, with its length before it.
    pub(crate) fn protobuf(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (family, samples) in self.families.values() {
            let mut message = family_head(family);
            for (labels, value) in samples {
                put(&mut message, 4, &metric(family, labels, value));
            }
            encoding::encode_varint(message.len() as u64, &mut all);
            all.extend(message);
        }
        all
    }
}

/// Writes a field that has a length: a text, or a message.
fn put(message: &mut Vec<u8>, field: u32, content: &[u8]) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    encoding::encode_varint(content.len() as u64, message);
    message.extend(content);
}

fn family_head(family: &Family) -> Vec<u8> {
    let mut message = Vec::new();
    put(&mut message, 1, family.name.as_bytes());
    put(&mut message, 2, family.help.as_bytes());
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    encoding::int32::encode(3, &kind, &mut message);
    message
}

fn metric(family: &Family, labels: &[String], value: &Value) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in family.labels.iter().zip(labels) {
        let mut label = Vec::new();
        put(&mut label, 1, name.as_bytes());
        put(&mut label, 2, value.as_bytes());
        put(&mut message, 1, &label);
    }
    match value {
        Value::Number(number) => {
            let mut content = Vec::new();
            encoding::double::encode(1, number, &mut content);
            put(&mut message, if family.kind == Kind::Counter { 3 } else { 2 }, &content);
        }
        Value::Counts(counts) => put(&mut message, 7, &histogram(counts)),
    }
    message
}

/// Writes both histograms: readers that take no native ones have the buckets of the text.
fn histogram(Counts { bounds, cumulative, sum, native }: &Counts) -> Vec<u8> {
    let mut message = Vec::new();
    let all = cumulative.last().copied().unwrap_or(0);
    // A reader holds the number of values against the buckets. Values that came in between the two are left out.
    let count = native.as_ref().map_or(all, Native::count);
    encoding::uint64::encode(1, &count, &mut message);
    encoding::double::encode(2, sum, &mut message);
    for (bound, up_to) in bounds.iter().copied().chain([f64::INFINITY]).zip(cumulative) {
        let up_to = if bound.is_infinite() { count } else { (*up_to).min(count) };
        let mut bucket = Vec::new();
        encoding::uint64::encode(1, &up_to, &mut bucket);
        encoding::double::encode(2, &bound, &mut bucket);
        put(&mut message, 3, &bucket);
    }
    if let Some(native) = native {
        put_native(&mut message, native);
    }
    message
}

fn put_native(message: &mut Vec<u8>, native: &Native) {
    encoding::sint32::encode(5, &SCHEMA, message);
    encoding::double::encode(6, &ZERO_THRESHOLD, message);
    encoding::uint64::encode(7, &native.zeros, message);
    let spans = native.spans();
    for span in &spans {
        let mut content = Vec::new();
        encoding::sint32::encode(1, &span.offset, &mut content);
        encoding::uint32::encode(2, &(span.counts.len() as u32), &mut content);
        put(message, 12, &content);
    }
    let mut before = 0;
    for count in spans.iter().flat_map(|span| &span.counts) {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        encoding::sint64::encode(13, &(count - before), message);
        before = count;
    }
}
