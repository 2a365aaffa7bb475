//! Watches the bytes of an HTTP/1 connection go by and keeps each request head as it was written.
//!
//! hyper parses requests into a map, which groups repeated headers and forgets the case of their names. A proxy that
//! promises to change nothing needs the original. This stream lies beneath hyper, follows the framing of the
//! requests, and hands over the header fields of each in turn. Should it ever disagree with hyper about what a
//! request is, [`WireHeads::take`] notices, and hyper is believed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::model::Headers;

/// More header fields than this end the watching; hyper refuses such a request anyway.
pub const MOST_FIELDS: usize = 128;

/// A longer head than this ends the watching; hyper refuses such a request anyway.
const LONGEST_HEAD: usize = 512 * 1024;

/// The head of a request as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The header fields in their order and case.
    pub headers: Headers,
    /// Whether a line ended with a line feed alone.
    pub has_bare_line_feed: bool,
}

/// The heads that were seen on a connection and not yet taken.
#[derive(Clone, Debug, Default)]
pub struct WireHeads(Arc<Mutex<VecDeque<Head>>>);

impl WireHeads {
    /// The head of the next request: its fields as they were written when those are what hyper parsed, else hyper's.
    pub fn take(&self, parsed: &HeaderMap) -> Head {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default();
        if is_same(&next.headers, parsed) { next } else { Head { headers: Headers::from(parsed), ..next } }
    }

    fn push(&self, head: Head) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(head);
    }
}

/// Whether hyper parsed the fields that were written.
fn is_same(written: &Headers, parsed: &HeaderMap) -> bool {
    // Fields whose names do not repeat, which is nearly all requests, are in the same order.
    let in_order = written
        .iter()
        .zip(parsed)
        .all(|((name, value), (n, v))| name.eq_ignore_ascii_case(n.as_ref()) && value == v.as_bytes());
    if in_order && written.len() == parsed.len() {
        return true;
    }
    // Of a length beside a transfer coding hyper removes the length; that there was one must not go unseen.
    let has_coding = parsed.contains_key(TRANSFER_ENCODING);
    let counts = |name: &[u8]| !has_coding || !name.eq_ignore_ascii_case(b"content-length");
    let written = || written.iter().filter(|(name, _)| counts(name));
    written().count() == parsed.iter().filter(|(name, _)| counts(name.as_ref())).count()
        && written().all(|(name, value)| {
            let mut values = std::str::from_utf8(name).map(|name| parsed.get_all(name)).into_iter().flatten();
            values.any(|parsed| parsed.as_bytes() == value)
        })
}

/// A stream that is watched while it is read.
pub struct Watched<T> {
    io: T,
    heads: WireHeads,
    follower: Follower,
}

impl<T> Watched<T> {
    /// Watches `io`; the heads appear in the second value.
    pub fn new(io: T) -> (Self, WireHeads) {
        let heads = WireHeads::default();
        (Self { io, heads: heads.clone(), follower: Follower::default() }, heads)
    }
}

impl<T> Watched<T> {
    /// The stream itself, watched no more.
    pub fn into_inner(self) -> T {
        self.io
    }
}

/// Where in the sequence of requests the stream is.
#[derive(Debug, Default)]
struct Follower {
    state: State,
    head: BytesMut,
    line: Line,
}

#[derive(Debug, Default)]
enum State {
    /// In a head.
    #[default]
    Head,
    /// In a body with so many bytes to come.
    Body(u64),
    /// In a line that gives the size of a chunk.
    ChunkSize,
    /// In a chunk, with so many bytes to come, its line end included.
    Chunk(u64),
    /// In the lines behind the last chunk.
    Trailers,
    /// Another protocol, or something that is not understood: nothing more is watched.
    Blind,
}

/// The line that is being read, when only whether there is something on it, or the number on it, matters.
#[derive(Debug, Default)]
struct Line {
    has_text: bool,
    /// Whether a line before it had.
    started: bool,
    size: u64,
    in_extension: bool,
}

impl Line {
    /// Takes in some of a line, of which only line ends do not count.
    fn read(&mut self, bytes: &[u8]) {
        self.has_text |= bytes.iter().any(|byte| *byte != b'\r');
        self.started |= self.has_text;
    }
}

impl Follower {
    fn follow(&mut self, mut bytes: &[u8], heads: &WireHeads) {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Head => self.read_head(bytes, heads),
                State::Body(left) | State::Chunk(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    if *left == 0 {
                        self.state =
                            if matches!(self.state, State::Body(_)) { State::Head } else { State::ChunkSize };
                    }
                    step
                }
                State::ChunkSize => self.read_chunk_size(bytes),
                State::Trailers => self.read_trailers(bytes),
                State::Blind => return,
            };
            bytes = &bytes[used..];
        }
    }

    /// Reads up to the empty line that ends the head; empty lines before it are passed over, as by every server.
    fn read_head(&mut self, bytes: &[u8], heads: &WireHeads) -> usize {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            self.line.read(&bytes[start..end]);
            start = end + 1;
            if !self.line.has_text && self.line.started {
                self.head.extend_from_slice(&bytes[..start]);
                self.line = Line::default();
                self.state = finish_head(&self.head.split().freeze(), heads);
                return start;
            }
            self.line.has_text = false;
        }
        self.line.read(&bytes[start..]);
        self.head.extend_from_slice(bytes);
        if self.head.len() > LONGEST_HEAD {
            self.state = State::Blind;
            self.head = BytesMut::new();
        }
        bytes.len()
    }

    fn read_chunk_size(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            match char::from(*byte) {
                '\n' => {
                    let size = std::mem::take(&mut self.line).size;
                    // Two more for the line end behind the data.
                    self.state =
                        if size == 0 { State::Trailers } else { State::Chunk(size.saturating_add(2)) };
                    return index + 1;
                }
                ';' => self.line.in_extension = true,
                digit if !self.line.in_extension => {
                    if let Some(digit) = digit.to_digit(16) {
                        self.line.size = self.line.size.saturating_mul(16).saturating_add(digit.into());
                    }
                }
                _ => {}
            }
        }
        bytes.len()
    }

    fn read_trailers(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if !self.line.has_text => {
                    self.state = State::Head;
                    return index + 1;
                }
                b'\n' => self.line.has_text = false,
                b'\r' => {}
                _ => self.line.has_text = true,
            }
        }
        bytes.len()
    }
}

/// Takes the fields out of a whole head; what comes after it.
fn finish_head(head: &Bytes, heads: &WireHeads) -> State {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = matches!(request.parse(head), Ok(httparse::Status::Complete(_)));
    // `PRI` opens HTTP/2, `CONNECT` a tunnel: no more heads of this kind follow.
    if !is_whole || matches!(request.method, Some("PRI" | "CONNECT")) {
        return State::Blind;
    }
    let headers: Headers = request
        .headers
        .iter()
        .map(|field| (head.slice_ref(field.name.as_bytes()), head.slice_ref(field.value)))
        .collect();
    let next = body_after(&headers);
    heads.push(Head { headers, has_bare_line_feed: has_bare_line_feed(head) });
    next
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// How the body of a request with those headers is framed (RFC 9112 §6.3).
fn body_after(headers: &Headers) -> State {
    if headers.get("transfer-encoding").is_some() {
        return State::ChunkSize;
    }
    match headers.get_str("content-length").map(str::parse) {
        None | Some(Ok(0)) => State::Head,
        Some(Ok(length)) => State::Body(length),
        Some(Err(_)) => State::Blind,
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let this = &mut *self;
        this.follower.follow(&buf.filled()[before..], &this.heads);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watched(wire: &[u8], chunk: usize) -> Vec<Head> {
        let (heads, mut follower) = (WireHeads::default(), Follower::default());
        for part in wire.chunks(chunk) {
            follower.follow(part, &heads);
        }
        let mut queue = heads.0.lock().unwrap();
        queue.drain(..).collect()
    }

    proptest! {
        #[test]
        fn every_head_of_a_connection_is_seen_however_reads_are_split(
            bodies in proptest::collection::vec((0..3usize, "[a-z\r\n0;:]{0,60}"), 1..6),
            chunk in 1..200usize,
        ) {
            let mut wire = String::new();
            for (number, (framing, body)) in bodies.iter().enumerate() {
                let head = format!("\r\nPOST /{number} HTTP/1.1\r\nX-Number: {number}\r\nx-NUMBER: b");
                wire += &match framing {
                    0 => format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                    1 => format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{:x};e=\"1\"\r\n{body}\r\n0\r\nT: 1\r\n\r\n", body.len().max(1)).replace(
                        "1;e=\"1\"\r\n\r\n", "1;e=\"1\"\r\nx\r\n"),
                    _ => format!("{head}\r\n\r\n"),
                };
            }
            let seen = watched(wire.as_bytes(), chunk);
            prop_assert_eq!(seen.len(), bodies.len());
            for (number, head) in seen.iter().enumerate() {
                let number = number.to_string();
                let fields: Vec<_> = head.headers.iter().take(2).map(|(name, value)| (&name[..], &value[..])).collect();
                prop_assert_eq!(fields, vec![(&b"X-Number"[..], number.as_bytes()), (b"x-NUMBER", b"b")]);
            }
        }

        #[test]
        fn no_bytes_break_it(wire in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1..50usize) {
            watched(&wire, chunk);
        }
    }
}
