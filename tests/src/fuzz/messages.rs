//! Queue messages: whatever can be read means the same to the next reader, and the rest is refused.

use serde_json::Value;
use shared::log_file::{LogFile, Version};
use shared::message::Message;

use super::{instance, lines};

/// Reads `data` as a body, and then as the fields of a message.
pub fn run(data: &[u8]) {
    let body = String::from_utf8_lossy(data);
    match Message::from_wire(&body) {
        Ok(message) => survives_the_wire(&message),
        Err(unreadable) => assert!(!unreadable.to_string().is_empty(), "{unreadable:?}"),
    }
    if let Ok(Value::Object(fields)) = serde_json::from_str(&body) {
        let ours = fields.get("v") == Some(&Value::from(1));
        assert!(ours || Message::from_wire(&body).is_err(), "{body}");
    }
    any_fields_survive_the_wire(data);
}

fn survives_the_wire(message: &Message) {
    let body = message.to_wire();
    let read = Message::from_wire(&body).expect("what was written can be read");
    assert_eq!(read, *message, "{body}");
    assert!(body.chars().all(sqs_takes), "{body:?}");
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn sqs_takes(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn any_fields_survive_the_wire(data: &[u8]) {
    let lines = lines(data);
    let mut lines = lines.iter().cycle();
    let mut next = || lines.next().map_or("", |line| line.as_ref());
    let mut instance = instance(next(), next());
    next().clone_into(&mut instance.resource_id);
    let name = next().to_owned();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_i64, |sum, byte| sum << 7 | i64::from(*byte))
    };
    let (last_written, size) = data.split_at(data.len() / 2);
    if let Some(version) = Version::new(number(last_written), number(size)) {
        let twins = u32::try_from(data.len()).unwrap_or(1);
        let file = LogFile {
            name,
            version,
            twins,
        };
        survives_the_wire(&Message { instance, file });
    }
}
