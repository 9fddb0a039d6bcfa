//! The body of a request: read within a time and a size, and unpacked within a size.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use super::answer::Refusal;
use super::budget::Reserved;

/// Time in which a body has to be sent.
const TIME: Duration = Duration::from_secs(30);
/// Bytes that are unpacked at a time.
const CHUNK: usize = 64 << 10;
/// Binary logarithm of the largest window of zstd: 8 MiB, as RFC 8878 recommends. A frame may ask for gigabytes.
const ZSTD_WINDOW: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// Returns the encoding that a header names; `None` if it is another one, or several.
    pub(super) fn of(header: &str) -> Option<Self> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

fn too_large(limit: usize, what: &str) -> Refusal {
    let detail = format!("the body has more than {limit} bytes{what}: send its records in several requests");
    Refusal::caller(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn no_room() -> Refusal {
    Refusal::full("too many bytes of requests wait to be read: send it again a little later")
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(body: Incoming, limit: usize, reserved: &mut Reserved) -> Result<Vec<u8>, Refusal> {
    // The head says how long it will be: nobody has to wait for it.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit, ""));
    }
    match tokio::time::timeout(TIME, whole(body, limit, reserved)).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", TIME.as_secs());
            Err(Refusal::caller(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

async fn whole(mut body: Incoming, limit: usize, reserved: &mut Reserved) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let broken =
            |error| Refusal::caller(StatusCode::BAD_REQUEST, format!("the body was not sent as a whole: {error}"));
        // A frame that is not data is a trailer, which says nothing here.
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large(limit, ""));
        }
        if !reserved.grow(data.len()) {
            return Err(no_room());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Unpacks a body to at most `limit` bytes. A body of several packed parts is all of them.
pub(super) fn unpack(bytes: Vec<u8>, how: Encoding, limit: usize, reserved: &mut Reserved) -> Result<Vec<u8>, Refusal> {
    match how {
        Encoding::Identity => Ok(bytes),
        Encoding::Gzip => {
            inflate(MultiGzDecoder::new(bytes.as_slice()), limit, reserved).map_err(|e| refusal(e, "gzip"))
        }
        Encoding::Zstd => {
            let decoder = zstd::Decoder::with_buffer(bytes.as_slice()).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                Ok(decoder)
            });
            decoder.map_err(Failed::Broken).and_then(|it| inflate(it, limit, reserved)).map_err(|e| refusal(e, "zstd"))
        }
    }
}

/// Why a body was not unpacked.
enum Failed {
    Broken(io::Error),
    TooLarge(usize),
    NoRoom,
}

fn refusal(failed: Failed, how: &str) -> Refusal {
    match failed {
        Failed::Broken(error) => {
            Refusal::caller(StatusCode::BAD_REQUEST, format!("the body is not {how}, or not all of it: {error}"))
        }
        Failed::TooLarge(limit) => too_large(limit, " when it is unpacked"),
        Failed::NoRoom => no_room(),
    }
}

fn inflate(mut from: impl Read, limit: usize, reserved: &mut Reserved) -> Result<Vec<u8>, Failed> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Broken(error)),
        };
        if bytes.len() + read > limit {
            return Err(Failed::TooLarge(limit));
        }
        if !reserved.grow(read) {
            return Err(Failed::NoRoom);
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::budget::Budget;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: Vec<u8>, how: Encoding, limit: usize) -> Result<Vec<u8>, u16> {
        let budget = Budget::new(4 << 20);
        unpack(bytes, how, limit, &mut budget.reserve()).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn bodies_are_unpacked_with_all_their_parts_and_up_to_a_size() {
        let text = b"{\"n\": 1}\n".repeat(50_000);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        for (packed, how) in [
            (text.clone(), Encoding::Identity),
            (gzip(&text), Encoding::Gzip),
            ([gzip(&text[..900]), gzip(&text[900..])].concat(), Encoding::Gzip),
            (zstd(&text), Encoding::Zstd),
            ([zstd(&text[..900]), zstd(&text[900..])].concat(), Encoding::Zstd),
        ] {
            assert!(unpacked(packed.clone(), how, text.len()) == Ok(text.clone()), "{how:?}");
            if how != Encoding::Identity {
                assert_eq!(unpacked(packed.clone(), how, text.len() - 1), Err(413), "{how:?}");
                assert_eq!(unpacked(packed[..packed.len() - 1].to_vec(), how, text.len()), Err(400), "{how:?}");
                assert_eq!(unpacked(text.clone(), how, text.len()), Err(400), "{how:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_or_when_there_is_no_room() {
        let zeros = vec![0; 32 << 20];
        for (packed, how) in [(gzip(&zeros), Encoding::Gzip), (zstd::encode_all(&*zeros, 3).unwrap(), Encoding::Zstd)] {
            assert_eq!(unpacked(packed.clone(), how, 1 << 20), Err(413), "{how:?}");
            assert_eq!(unpacked(packed, how, 64 << 20), Err(503), "{how:?}");
        }
    }
}
