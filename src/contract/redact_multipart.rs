//! Secrets in forms of several parts: the content of a part whose name says that it is one, and whatever stands in others.

use std::borrow::Cow;

use super::{redact, redact_text};

/// What stands in the place of a part's content that is a secret as a whole.
const MASKED: &[u8] = b"REDACTED";

/// The longest line between parts, in bytes, without its end (RFC 2046 has 70 and two dashes).
const LONGEST_BOUNDARY: usize = 74;

/// The line that divides the parts of a body, where it has parts.
pub(super) fn boundary(body: &[u8]) -> Option<&[u8]> {
    let line = body.split(|byte| *byte == b'\n').next()?.trim_ascii_end();
    let is_one = line.len() > 2 && line.len() <= LONGEST_BOUNDARY && line.starts_with(b"--");
    let has_parts = || find(&body.to_ascii_lowercase(), b"content-disposition:").is_some();
    (is_one && has_parts()).then_some(line)
}

/// The same body without secrets; it was found below so many layers.
pub(super) fn redact<'a>(body: &'a [u8], boundary: &[u8], layer: usize) -> Cow<'a, [u8]> {
    let (mut out, mut is_changed, mut rest) = (Vec::with_capacity(body.len()), false, body);
    while !rest.is_empty() {
        // What stands before a boundary is a part, with the boundary that began it.
        let from = if rest.starts_with(boundary) { boundary.len() } else { 0 };
        let end = find(&rest[from..], boundary).map_or(rest.len(), |at| from + at);
        let (part, behind) = rest.split_at(end);
        let redacted = redact_part(part, from, layer);
        is_changed |= matches!(redacted, Cow::Owned(_));
        out.extend_from_slice(&redacted);
        rest = behind;
    }
    if is_changed { Cow::Owned(out) } else { Cow::Borrowed(body) }
}

fn redact_part(part: &[u8], from: usize, layer: usize) -> Cow<'_, [u8]> {
    let Some((start, length)) = [&b"\r\n\r\n"[..], b"\n\n"]
        .iter()
        .filter_map(|empty| Some((find(&part[from..], empty)?, empty.len())))
        .min()
    else {
        return Cow::Borrowed(part);
    };
    let start = from + start + length;
    let (head, content) = part.split_at(start);
    let content_end = content.len() - content.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
    let (content, end) = content.split_at(content_end);
    let named = name(head).is_some_and(redact::is_secret_name);
    let head = redact_text::redact_layer(head, layer);
    let content = if named && !content.is_empty() && content != MASKED {
        Cow::Borrowed(MASKED)
    } else {
        redact::content(content, layer + 1)
    };
    let redacted = [&head[..], &content[..], end].concat();
    if redacted == part { Cow::Borrowed(part) } else { Cow::Owned(redacted) }
}

/// The name of a part, from its head.
fn name(head: &[u8]) -> Option<&[u8]> {
    let lower = head.to_ascii_lowercase();
    let at = [&b" name="[..], b";name="].iter().find_map(|start| find(&lower, start))? + 6;
    let rest = &head[at..];
    match rest.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
        None => rest.split(|byte| b";\r\n".contains(byte)).next(),
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}
