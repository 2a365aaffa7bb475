//! Makes the request that Meeting BaaS would send: a body from a fixture or a record, edited, and signed.

use bytes::Bytes;

use crate::contract::sender::{self, Slot};
use crate::contract::{Part, authenticates, field_names, is_mask, wire_event};
use crate::json::{Json, Path, PathError};
use crate::model::{Contract, Headers, Request};
use crate::signature::{CannotSign, Signing, Stamp};

/// An edit of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// Puts a value at a path.
    Set(Path, Json),
    /// Takes away what is at a path.
    Unset(Path),
}

impl Patch {
    /// Where it edits.
    pub fn path(&self) -> &Path {
        match self {
            Self::Set(path, _) | Self::Unset(path) => path,
        }
    }
}

/// An edit that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{edit}: {reason}")]
pub struct EditError {
    edit: String,
    reason: PathError,
}

/// Applies edits in their order.
pub fn edit(body: &mut Json, patches: &[Patch]) -> Result<(), EditError> {
    patches.iter().try_for_each(|patch| match patch {
        Patch::Set(path, value) => body
            .set(path, value.clone())
            .map_err(|reason| EditError { edit: format!("setting `{path}`"), reason }),
        Patch::Unset(path) => {
            body.unset(path).map_err(|reason| EditError { edit: format!("unsetting `{path}`"), reason })
        }
    })
}

/// A request with that body as its contract sends it: what is signed is what is sent, to the byte.
///
/// The host is the target's to say: whoever hands the request over puts it in.
pub fn request(signing: &Signing, stamp: &Stamp, body: Bytes) -> Result<Request, CannotSign> {
    let event = wire_event(&body);
    request_of(signing, stamp, event.as_deref(), body)
}

/// Like [`request`], for a body that does not tell its wire event by itself, such as a compressed one.
pub fn request_of(
    signing: &Signing,
    stamp: &Stamp,
    wire_event: Option<&str>,
    body: Bytes,
) -> Result<Request, CannotSign> {
    let authentication = signing.sign(stamp, &body)?;
    let mut headers = Headers::new();
    for slot in sender::head(signing.contract, wire_event) {
        match slot {
            Slot::Fixed(name, value) => headers.push(name.as_bytes(), value.as_bytes()),
            Slot::Host(name) => headers.push(name.as_bytes(), "localhost".as_bytes()),
            Slot::Length(name) => headers.push(name.as_bytes(), body.len().to_string()),
            Slot::Authentication => {
                authentication.iter().for_each(|(name, value)| headers.push(name.clone(), value.clone()));
            }
        }
    }
    let method = sender::methods(signing.contract)[0].to_owned();
    Ok(Request { method, path: "/".to_owned(), headers, body, trailers: Headers::new() })
}

/// A recorded request again, with fresh authentication for its body: each field stands where the old one did, under the
/// name that it had there; credentials, which were never recorded, are put in again.
pub fn signed_again(
    recorded: &Request,
    signing: &Signing,
    stamp: &Stamp,
    body: Bytes,
) -> Result<Request, CannotSign> {
    let fresh = signing.sign(stamp, &body)?;
    let part = |name: &[u8]| {
        authenticates(name).filter(|(contract, _)| *contract == signing.contract).map(|(_, part)| part)
    };
    let owned = |(name, value): (&Bytes, &Bytes)| (name.clone(), value.clone());
    let mut left: Vec<(Bytes, Bytes)> = fresh.iter().map(owned).collect();
    let mut fields: Vec<(Bytes, Bytes)> = Vec::new();
    // Where those go that the recorded request did not have: behind the last that it had.
    let mut end = None;
    for (name, value) in recorded.headers.iter() {
        if let Some(wanted) = part(name) {
            if let Some(at) = left.iter().position(|(fresh, _)| part(fresh) == Some(wanted)) {
                fields.push((name.clone(), left.remove(at).1));
            }
            end = Some(fields.len());
        } else if name.eq_ignore_ascii_case(b"content-length") {
            fields.push((name.clone(), body.len().to_string().into()));
        } else if !is_mask(value) {
            fields.push((name.clone(), value.clone()));
        }
    }
    let end = end.unwrap_or(fields.len());
    fields.splice(end..end, left);
    Ok(Request { headers: fields.into_iter().collect(), body, ..recorded.clone() })
}

/// The id of a recorded message, when it has one: a request with the same is the same message to its receiver.
pub fn message_id(recorded: &Request) -> Option<String> {
    let id = field_names(Contract::V2, Part::Id).find_map(|name| recorded.headers.get_str(name))?;
    Some(id.to_owned())
}

/// A recorded request again as it was, less the credentials, which were never recorded; and how many those are.
pub fn as_recorded(recorded: &Request) -> (Request, usize) {
    let mut request = recorded.clone();
    request.headers.retain(|_, value| !is_mask(value));
    let masked = recorded.headers.len() - request.headers.len();
    (request, masked)
}
