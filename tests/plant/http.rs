//! As much of HTTP/1.1 as two programs need that know each other: kept connections, bodies with a `Content-Length`.
//!
//! It allocates nothing for a message, so that the load it makes costs little beside what is measured.

use std::io;
use std::ops::Range;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A message larger than this ends its connection.
const LARGEST: usize = 1 << 20;

/// A kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was handed out already.
    taken: usize,
}

/// A request or an answer, whole.
pub struct Message<'a> {
    head: &'a [u8],
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The first line.
    pub fn first_line(&self) -> &[u8] {
        self.head.split(|byte| *byte == b'\r').next().unwrap_or(self.head)
    }

    /// The status of an answer; 0 when there is none.
    pub fn status(&self) -> u16 {
        self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
    }

    /// A header's value; the name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (known, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        known.eq_ignore_ascii_case(name.as_bytes()).then(|| std::str::from_utf8(value.trim_ascii()).ok())?
    })
}

impl Connection {
    /// Connects.
    pub async fn open(to: &str) -> io::Result<Connection> {
        Ok(Connection::new(TcpStream::connect(to).await?))
    }

    /// A connection that was accepted.
    pub fn new(stream: TcpStream) -> Connection {
        drop(stream.set_nodelay(true));
        Connection { stream, buffer: Vec::with_capacity(4096), taken: 0 }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; `None` when the peer has closed the connection before it.
    pub async fn message(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            if let Some((head, body)) = whole(&self.buffer) {
                self.taken = body.end;
                return Ok(Some(Message { head: &self.buffer[head], body: &self.buffer[body] }));
            }
            if self.buffer.len() > LARGEST {
                return Err(io::Error::other("the message is too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends when the peer has closed the connection, or sent something that nobody asked for.
    pub async fn gone(&mut self) {
        drop(self.stream.read_buf(&mut self.buffer).await);
    }
}

/// Where the head and the body of the first message are, when all of it is there.
fn whole(buffer: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let head = memmem::find(buffer, b"\r\n\r\n")?;
    let length = header(&buffer[..head], "content-length").map_or(Some(0), |length| length.parse().ok())?;
    let body = head + 4..head + 4 + length;
    (body.end <= buffer.len()).then_some((0..head, body))
}
