//! Headers as they stood on the wire: in order, with repeats, in their own case, any bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// Fields that concern one connection only.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields that stay even when `Connection` names them.
const NEVER_HOP_BY_HOP: [&str; 3] = ["host", "content-length", "content-type"];

/// An ordered list of header fields.
///
/// Names keep the case they were written in and compare without regard to it; values are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Bytes, Bytes)>);

impl Headers {
    /// No fields yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of the first field of that name, when it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Keeps the fields for which `keep(name, value)` holds, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Drops the fields that concern one connection only (RFC 9110 §7.6.1): the well-known ones, the ones that
    /// `Connection` names, and `Expect: 100-continue`, which whoever reads the body has already met.
    pub fn drop_hop_by_hop(&mut self) {
        let named: Vec<Bytes> = self.get_all("connection").cloned().collect();
        let is_named = |name: &[u8]| {
            named
                .iter()
                .flat_map(|list| list.split(|byte| *byte == b','))
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(name))
        };
        self.0.retain(|(name, value)| {
            let hop = HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_bytes()));
            let met = name.eq_ignore_ascii_case(b"expect") && value.eq_ignore_ascii_case(b"100-continue");
            // A peer that lists these in `Connection` would have us deliver a request that says less than its own.
            let needed = || NEVER_HOP_BY_HOP.iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes()));
            !met && !hop && (named.is_empty() || needed() || !is_named(name))
        });
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a map, which forgets case and keeps the repeats of a name together. A field that no HTTP message can have is
    /// left out.
    pub fn to_map(&self) -> http::HeaderMap {
        let field = |(name, value): &(Bytes, Bytes)| {
            let name = http::HeaderName::from_bytes(name).ok()?;
            Some((name, http::HeaderValue::from_maybe_shared(value.clone()).ok()?))
        };
        self.0.iter().filter_map(field).collect()
    }

    /// As a block of `Name: value` lines, each ended by CR LF.
    ///
    /// Neither names nor values can hold CR or LF: every way in goes through an HTTP parser or a check.
    pub fn to_block(&self) -> Bytes {
        let size = self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut block = BytesMut::with_capacity(size);
        for (name, value) in &self.0 {
            block.put_slice(name);
            block.put_slice(b": ");
            block.put_slice(value);
            block.put_slice(b"\r\n");
        }
        block.freeze()
    }

    /// Headers and, if there are any, trailers behind an empty line.
    pub fn to_block_with(&self, trailers: &Self) -> Bytes {
        let (block, behind) = (self.to_block(), trailers.to_block());
        if behind.is_empty() { block } else { [&block[..], b"\r\n", &behind[..]].concat().into() }
    }

    /// Reads what [`to_block_with`](Self::to_block_with) wrote: headers and trailers.
    pub fn from_block_with(block: &Bytes) -> (Self, Self) {
        let empty_line = match block.strip_prefix(b"\r\n") {
            Some(_) => Some((0, 2)),
            None => block.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (at + 2, at + 4)),
        };
        let (end, behind) = empty_line.unwrap_or((block.len(), block.len()));
        (Self::from_block(&block.slice(..end)), Self::from_block(&block.slice(behind..)))
    }

    /// Reads what [`to_block`](Self::to_block) wrote; lines that are not fields are passed over.
    pub fn from_block(block: &Bytes) -> Self {
        let mut headers = Self::new();
        let mut start = 0;
        while let Some(length) = block[start..].windows(2).position(|pair| pair == b"\r\n") {
            let line = block.slice(start..start + length);
            start += length + 2;
            if let Some(colon) = line.windows(2).position(|pair| pair == b": ") {
                headers.push(line.slice(..colon), line.slice(colon + 2..));
            }
        }
        headers
    }
}

impl From<&http::HeaderMap> for Headers {
    /// All fields share one buffer.
    fn from(map: &http::HeaderMap) -> Self {
        let size = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut text = BytesMut::with_capacity(size);
        for (name, value) in map {
            text.put_slice(name.as_ref());
            text.put_slice(value.as_bytes());
        }
        let mut text = text.freeze();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (text.split_to(name.as_str().len()), text.split_to(value.len()))
        };
        Self(map.iter().map(field).collect())
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hop_by_hop_fields_go_and_the_rest_keeps_its_order() {
        let mut headers: Headers = [
            ("Host", "a"),
            ("Connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("A", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("a", "2"),
            ("TE", "trailers"),
        ]
        .into_iter()
        .collect();
        headers.drop_hop_by_hop();
        assert_eq!(headers, [("Host", "a"), ("A", "1"), ("a", "2")].into_iter().collect());
    }

    fn any_headers() -> impl Strategy<Value = Headers> {
        let field = ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", "[^\r\n]{0,20}");
        proptest::collection::vec(field, 0..12)
            .prop_map(|fields| fields.into_iter().map(|(name, value)| (name, value.into_bytes())).collect())
    }

    proptest! {
        #[test]
        fn a_block_reads_back_as_written(headers in any_headers(), trailers in any_headers()) {
            prop_assert_eq!(&Headers::from_block(&headers.to_block()), &headers);
            let block = headers.to_block_with(&trailers);
            prop_assert_eq!(Headers::from_block_with(&block), (headers, trailers));
        }
    }
}
