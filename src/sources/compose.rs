//! Makes the request that Meeting BaaS would send: a body from a fixture or a record, edited, and signed.

use bytes::Bytes;

use crate::contract::is_mask;
use crate::json::{Json, Path, PathError};
use crate::model::{Contract, Headers, Request, Secret};
use crate::signature::{self, SignMode, Unsupported};

/// An edit of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// Puts a value at a path.
    Set(Path, Json),
    /// Takes away what is at a path.
    Unset(Path),
}

/// How to sign what is made.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The contract, which decides the scheme.
    pub contract: Contract,
    /// With what.
    pub secret: Secret,
    /// Right, or wrong on purpose.
    pub mode: SignMode,
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
/// The preview contract documents `Content-Type` and the signature; the user agent is our own, since the real one
/// is not documented.
pub fn request(signing: &Signing, body: Bytes) -> Result<Request, Unsupported> {
    let mut headers: Headers = [
        ("Content-Type", "application/json"),
        ("Accept", "*/*"),
        ("User-Agent", concat!("mbaas-dev/", env!("CARGO_PKG_VERSION"))),
    ]
    .into_iter()
    .collect();
    let signature = signature::sign(signing.contract, signing.mode, &signing.secret, &body)?;
    signature.iter().for_each(|(name, value)| headers.push(name.clone(), value.clone()));
    headers.push("Content-Length", body.len().to_string());
    Ok(Request { method: "POST".to_owned(), path: "/".to_owned(), headers, body })
}

/// A recorded request again, with a fresh signature over its body; the new signature stands where the old one did.
pub fn signed_again(recorded: &Request, signing: &Signing, body: Bytes) -> Result<Request, Unsupported> {
    let fresh = signature::sign(signing.contract, signing.mode, &signing.secret, &body)?;
    let mut headers = Headers::new();
    let mut placed = false;
    for (name, value) in recorded.headers.iter().filter(|(_, value)| !is_mask(value)) {
        if !signature::is_signature_header(name) {
            headers.push(name.clone(), value.clone());
        } else if !std::mem::replace(&mut placed, true) {
            fresh.iter().for_each(|(fresh, value)| {
                // Its name stays in the case in which it came.
                let name = if fresh.eq_ignore_ascii_case(name) { name } else { fresh };
                headers.push(name.clone(), value.clone());
            });
        }
    }
    if !placed {
        fresh.iter().for_each(|(name, value)| headers.push(name.clone(), value.clone()));
    }
    Ok(Request { headers, body, ..recorded.clone() })
}

/// A recorded request again as it was, less the credentials, which were never recorded; and how many those are.
pub fn as_recorded(recorded: &Request) -> (Request, usize) {
    let mut request = recorded.clone();
    request.headers.retain(|_, value| !is_mask(value));
    let masked = recorded.headers.len() - request.headers.len();
    (request, masked)
}
