//! How a file of JSON begins: with a byte order mark, which says nothing, or with signs of another encoding.

/// A text that is not in UTF-8, as some editors and shells of Windows write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is in UTF-16; save it as UTF-8")]
pub struct Utf16;

/// The text without a byte order mark.
pub fn utf8(text: &[u8]) -> Result<&[u8], Utf16> {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..] => Err(Utf16),
        _ => Ok(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_utf_8_says_nothing_and_utf_16_is_told_with_and_without_one() {
        assert_eq!(utf8(b"\xef\xbb\xbf{}"), Ok(&b"{}"[..]));
        for plain in [&b"{}"[..], b"", b"{", "\u{e9}".as_bytes()] {
            assert_eq!(utf8(plain), Ok(plain));
        }
        for other in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"{\0}\0", b"\0{\0}"] {
            assert_eq!(utf8(other), Err(Utf16), "{other:?}");
        }
    }
}
