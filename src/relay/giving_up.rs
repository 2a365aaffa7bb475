//! Gives a channel up, when whoever it belongs to says so: its URL is good for nothing from then on.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::json;

use super::access::Admission;
use super::answers::{answer, report, try_again};
use super::metrics::Refused;
use super::owner::{Admitted, admit};
use super::proxies::Sender;
use super::{News, Parts};
use crate::serve::{Arrived, Body};
use crate::store::relay::{Claimant, NotGivenUp};
use crate::tunnel::DISCARD;

/// Gives up the channel of a listen token; the answer says what became of it.
pub async fn give_up(relay: &Arc<Parts>, arrived: &Arrived, sender: Sender) -> Response<Body> {
    let Admitted { admission: Admission { name, .. }, token, has } =
        match admit(relay, &sender, arrived.request.headers()) {
            Ok(admitted) => admitted,
            Err(refusal) => return *refusal,
        };
    let discard = arrived.request.headers().contains_key(DISCARD);
    let claimant = Claimant { token, tenant: name, most_channels: None, has };
    match relay.store.give_up(claimant, discard).await {
        Ok(discarded) => {
            relay.metrics.given_up.inc();
            relay.tell(News::GivenUp(discarded));
            answer(StatusCode::OK, &json!({ "status": "given_up", "discarded": discarded }))
        }
        Err(NotGivenUp::Store(error)) => {
            relay.metrics.refused(Refused::Store);
            relay.trouble(error);
            try_again(5, "store", "channels cannot be given up at the moment")
        }
        Err(error) => {
            let (status, code) = match error {
                NotGivenUp::Nothing => (StatusCode::NOT_FOUND, "unknown"),
                NotGivenUp::Before => (StatusCode::GONE, "given_up"),
                NotGivenUp::Waiting(_) => (StatusCode::CONFLICT, "waiting"),
                NotGivenUp::NotTheirs | NotGivenUp::Store(_) => (StatusCode::FORBIDDEN, "channel"),
            };
            report(status, code, &error.to_string())
        }
    }
}
