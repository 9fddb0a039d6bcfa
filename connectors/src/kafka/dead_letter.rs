//! Dead letters as messages.
//!
//! Known limit: the payload is the content of the dead letter, which is cut at 4 KiB and converted to UTF-8. The
//! headers say where the original message is.

use tidemill_engine::DeadLetter;

use super::outgoing::Outgoing;

/// Splits `topic/partition@offset`, the form in which the Kafka source states the origin of a message.
fn place(origin: &str) -> Option<(&str, &str, &str)> {
    let (place, offset) = origin.rsplit_once('@')?;
    let (topic, partition) = place.rsplit_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(partition) && is_number(offset)).then_some((topic, partition, offset))
}

pub(super) fn encode(letter: &DeadLetter, message: &mut Outgoing) {
    let DeadLetter { operator, origin, reason, content } = letter;
    message.key = Some(origin.as_bytes().to_vec());
    message.payload = Some(content.as_bytes().to_vec());
    let mut header = |name: &str, value: &str| message.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    header("operator", operator);
    header("reason", reason);
    header("origin", origin);
    if let Some((topic, partition, offset)) = place(origin) {
        header("topic", topic);
        header("partition", partition);
        header("offset", offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_from_kafka_says_where_its_message_was() {
        let letter = DeadLetter::new("payments", "pay.ments/3@1042".to_owned(), "no JSON".to_owned(), b"{oops");
        let mut message = Outgoing::default();
        encode(&letter, &mut message);
        let of = |name: &str| {
            message.headers.iter().find(|(n, _)| n == name).map(|(_, v)| String::from_utf8_lossy(v).into_owned())
        };
        assert_eq!(of("topic").as_deref(), Some("pay.ments"));
        assert_eq!(of("partition").as_deref(), Some("3"));
        assert_eq!(of("offset").as_deref(), Some("1042"));
        assert_eq!(of("reason").as_deref(), Some("no JSON"));
        assert_eq!(message.payload.as_deref(), Some(&b"{oops"[..]));
        assert_eq!(place("transactions.csv:17"), None);
    }
}
