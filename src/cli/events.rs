//! Server-sent events of a daemon, read one by one.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

use std::time::Duration;

use super::failure::Failure;

/// The daemon says something at least every fifteen seconds; silence for this long means that it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// One event, in bytes.
const EVENT_BYTES: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) kind: String,
    pub(super) data: String,
}

/// A stream of events.
pub(super) struct Events {
    response: reqwest::Response,
    parser: Parser,
}

impl Events {
    pub(super) fn of(response: reqwest::Response) -> Events {
        Events { response, parser: Parser::default() }
    }

    /// The next event; `None` when the daemon ended the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            if self.parser.held.len() > EVENT_BYTES {
                return Err(Failure::said("an event of the daemon is too long"));
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| Failure::said("the daemon says nothing any more"))?;
            match chunk.map_err(|_| Failure::said("the daemon broke the stream off"))? {
                Some(bytes) => self.parser.held.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    held: Vec<u8>,
}

impl Parser {
    /// The next event of what is held; comments are passed over.
    fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.held.windows(2).position(|pair| pair == b"\n\n")?;
            let text: Vec<u8> = self.held.drain(..end + 2).collect();
            let mut event = Event::default();
            for line in String::from_utf8_lossy(&text).lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "id" => event.id = Some(value.to_owned()),
                    "event" => value.clone_into(&mut event.kind),
                    "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                    "data" => event.data.extend(["\n", value]),
                    _ => {}
                }
            }
            if !event.data.is_empty() {
                return Some(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whole_and_comments_passed_over() {
        let mut parser = Parser::default();
        parser.held.extend_from_slice(b":\n\nevent: switch\ndata: {\"a\"");
        assert_eq!(parser.next(), None);
        parser.held.extend_from_slice(b":1}\n\n:\n\nid: 3-1\nevent: removed\ndata: x\ndata: y\n\n");
        let event = |id: Option<&str>, kind: &str, data: &str| Event {
            id: id.map(str::to_owned),
            kind: kind.into(),
            data: data.into(),
        };
        assert_eq!(parser.next(), Some(event(None, "switch", "{\"a\":1}")));
        assert_eq!(parser.next(), Some(event(Some("3-1"), "removed", "x\ny")));
        assert_eq!((parser.next(), parser.held.len()), (None, 0));
    }
}
