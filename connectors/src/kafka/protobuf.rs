//! The decoding of Protobuf payloads.

use super::decode::{Decode, Incoming, NotDecoded};
use super::frame::framed;
use super::payload::payload;

/// Returns a decoder of Protobuf payloads without any framing.
pub fn protobuf<T: prost::Message + Default + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| T::decode(payload(message)?).map_err(NotDecoded::poison)
}

/// Returns a decoder of Protobuf payloads in Confluent's wire format: a zero, the schema's id, the path to the
/// message's type in the schema, the message. The type is always `T`: neither the id nor the path is looked up.
pub fn framed_protobuf<T: prost::Message + Default + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| decode_framed_protobuf(payload(message)?)
}

fn decode_framed_protobuf<T: prost::Message + Default>(payload: &[u8]) -> Result<T, NotDecoded> {
    let (_, mut rest) = framed(payload)?;
    // The path is a list of zigzag numbers: their count, then each of them. An empty path stands for the first type.
    let number = |rest: &mut &[u8]| {
        let zigzag = prost::encoding::decode_varint(rest).map_err(NotDecoded::poison)?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    };
    for _ in 0..number(&mut rest)? {
        number(&mut rest)?;
    }
    T::decode(rest).map_err(NotDecoded::poison)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn protobuf_is_found_after_its_frame() {
        // The message is Protobuf's own StringValue, which has one string.
        let value = "a card".to_owned();
        let message = value.encode_to_vec();
        for path in [&[0][..], &[4, 2, 0], &[2, 6]] {
            let payload = [&[0, 0, 0, 0, 7], path, &message].concat();
            assert_eq!(decode_framed_protobuf::<String>(&payload).unwrap(), value);
        }
        for wrong in [&b""[..], b"\0\0\0\0\x07", b"\0\0\0\0\x07\xff\xff", b"\0\0\0\0\x07\0\x0a\x09c"] {
            assert!(matches!(decode_framed_protobuf::<String>(wrong), Err(NotDecoded::Poison(_))), "{wrong:?}");
        }
    }
}
