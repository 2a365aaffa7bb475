//! Messages are encrypted on disk: they may carry credentials, and the file may be copied.
//!
//! AES-256-GCM with a random nonce in front of each; the channel and the id of a message are bound to it, so that none
//! can be put in the place of another.

use bytes::{Buf, BufMut, Bytes};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::MessageId;
use crate::model::{ChannelId, Clock, Headers, Request};

/// The length of a nonce.
const NONCE: usize = 12;

/// The length of the tag behind the text.
const TAG: usize = 16;

/// The key of a relay's store.
#[derive(Debug)]
pub struct Key {
    key: LessSafeKey,
    clock: Clock,
}

impl Key {
    /// A key of 256 random bits.
    pub fn new(bits: &[u8; 32], clock: Clock) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bits).expect("the key has 32 bytes");
        Self { key: LessSafeKey::new(key), clock }
    }

    /// A request as it stands on disk.
    pub(super) fn seal(&self, channel: &ChannelId, id: &MessageId, request: &Request) -> Vec<u8> {
        let head = request.headers.to_block_with(&request.trailers);
        let texts = [request.method.as_bytes(), request.path.as_bytes(), &head];
        let length: usize = texts.iter().map(|text| text.len() + 4).sum();
        let nonce: [u8; NONCE] = self.clock.random_bytes();
        let mut sealed = Vec::with_capacity(NONCE + length + request.body.len() + TAG);
        sealed.put_slice(&nonce);
        for text in texts {
            sealed.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            sealed.put_slice(text);
        }
        sealed.put_slice(&request.body);
        let bound = Aad::from(bound(channel, id));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, bound, &mut sealed[NONCE..]);
        // It fails for texts of more than 64 GiB only.
        sealed.put_slice(tag.expect("a message is not that long").as_ref());
        sealed
    }

    /// Reads what [`seal`](Self::seal) wrote; `None` when it was not written with this key, for this message.
    pub(super) fn open(&self, channel: &ChannelId, id: &MessageId, mut sealed: Vec<u8>) -> Option<Request> {
        let nonce: [u8; NONCE] = sealed.get(..NONCE)?.try_into().ok()?;
        let bound = Aad::from(bound(channel, id));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.key.open_within(nonce, bound, &mut sealed, NONCE..).ok()?.len();
        sealed.truncate(length);
        let mut text = Bytes::from(sealed);
        let mut part = || {
            let length = usize::try_from(text.try_get_u32().ok()?).ok()?;
            (length <= text.len()).then(|| text.split_to(length))
        };
        let (method, path, head) = (part()?, part()?, part()?);
        let string = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
        let (method, path) = (string(method)?, string(path)?);
        let (headers, trailers) = Headers::from_block_with(&head);
        Some(Request { method, path, headers, body: text, trailers })
    }
}

fn bound(channel: &ChannelId, id: &MessageId) -> [u8; 32] {
    let mut bound = [0; 32];
    bound[..16].copy_from_slice(channel.bytes());
    bound[16..].copy_from_slice(id.bytes());
    bound
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens_unchanged_and_for_this_message_only(
            method in "[A-Z]{1,8}", path in "/[ -~é]{0,40}", name in "[A-Za-z-]{1,9}", value in "[ -~]{0,30}",
            body in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(),
        ) {
            let clock = Clock::fixed(Timestamp::UNIX_EPOCH, 1);
            let key = Key::new(&[7; 32], clock.clone());
            let (channel, id) = (ChannelId::new(&clock), MessageId::new(&clock));
            let headers = [(name.into_bytes(), value.clone().into_bytes())].into_iter().collect();
            let trailers = [("X-Sum", "1")].into_iter().collect();
            let request = Request { method, path, headers, body: body.into(), trailers };
            let sealed = key.seal(&channel, &id, &request);
            let seen = value.len() > 8 && sealed.windows(value.len()).any(|part| part == value.as_bytes());
            prop_assert!(!seen, "a header is there in clear");
            let opened = key.open(&channel, &id, sealed.clone()).unwrap();
            prop_assert_eq!(&opened, &request);
            let mut changed = sealed.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1;
            prop_assert!(key.open(&channel, &id, changed).is_none());
            prop_assert!(key.open(&channel, &id, sealed[..at].to_vec()).is_none());
            prop_assert!(key.open(&ChannelId::new(&clock), &id, sealed.clone()).is_none());
            prop_assert!(key.open(&channel, &MessageId::new(&clock), sealed.clone()).is_none());
            prop_assert!(Key::new(&[8; 32], clock).open(&channel, &id, sealed).is_none());
        }
    }
}
