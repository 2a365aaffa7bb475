//! Looking at recorded deliveries: the list, one of them, its bytes, and what is different between two.

use axum::extract::{Path, Query as Asked, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::Inspector;
use super::answer::{Fault, file_answer, object_answer, text_answer};
use super::question::Question;
use crate::model::{Delivery, FORMAT_VERSION, Outcome, Target};
use crate::observers::difference::{OutcomeDifference, RequestDifference, object};
use crate::observers::timeline::Timeline;
use crate::observers::{exchange, request_text};
use crate::scenario::Templates;
use crate::store::{Query, Reader, Recorded, Selector};

type Answer = Result<Response, Fault>;

/// `GET /api/deliveries`: a page of the list, newest first.
pub async fn list(State(inspector): State<Inspector>, Asked(question): Asked<Question>) -> Answer {
    let query = question.query(&inspector.0.parts.clock)?;
    let limit = query.limit;
    let found = inspector.read(move |reader| {
        // Of a text that is searched for, only the next page is known.
        let is_of_text = query.search.is_some() || query.bot.is_some();
        let total = if question.total && !is_of_text { Some(reader.count(&query)?) } else { None };
        Ok((reader.list(&query)?, total))
    });
    let (deliveries, total) = found.await?.unwrap_or((Vec::new(), Some(0)));
    let next = deliveries.last().filter(|_| deliveries.len() == limit).map(|last| last.number);
    Ok(text_answer(page(&deliveries, next, total)))
}

fn page(deliveries: &[Delivery], next: Option<i64>, total: Option<u64>) -> String {
    let null = || "null".to_owned();
    let (next, total) =
        (next.map_or_else(null, |n| n.to_string()), total.map_or_else(null, |n| n.to_string()));
    let deliveries = serde_json::to_string(deliveries).unwrap_or_else(|_| "[]".to_owned());
    format!(r#"{{"v":{FORMAT_VERSION},"deliveries":{deliveries},"next":{next},"total":{total}}}"#)
}

/// What of a delivery is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Bodies over so many bytes are left out.
    most: Option<usize>,
}

/// `GET /api/deliveries/{id}`: everything that was kept of it.
pub async fn one(
    State(inspector): State<Inspector>,
    Path(id): Path<String>,
    Asked(extent): Asked<Extent>,
) -> Answer {
    let selector = selector(&id)?;
    // Large bodies take a while, so it is all done where that delays nobody.
    let look = move |reader: &Reader| {
        let found = reader.find(&selector)?;
        Ok(found.map(|recorded| exchange::shown(&recorded, extent.most).map(|object| object.to_string())))
    };
    let shown = inspector.read(look).await?.flatten().ok_or_else(|| no_such(&id))?;
    Ok(text_answer(shown.map_err(|error| inexpressible(&error))?))
}

/// `GET /api/deliveries/{id}/body`: the bytes of the request's body.
pub async fn body(State(inspector): State<Inspector>, Path(id): Path<String>) -> Answer {
    let Recorded { delivery, request } = inspector.find(&id).await?;
    Ok(file_answer(request.body, &format!("delivery-{}.body", delivery.number)))
}

/// `GET /api/deliveries/{id}/attempts/{n}/body`: the bytes of a handler's answer, as far as they were kept.
pub async fn answer_body(State(inspector): State<Inspector>, Path((id, n)): Path<(String, u32)>) -> Answer {
    let Recorded { delivery, .. } = inspector.find(&id).await?;
    let attempt = delivery.attempts.iter().find(|attempt| attempt.number == n);
    let attempt = attempt.ok_or_else(|| Fault::not_found(format!("delivery {id} has no attempt {n}")))?;
    match &attempt.outcome {
        Outcome::Answered(answer) => {
            Ok(file_answer(answer.body.clone(), &format!("delivery-{}-answer-{n}.body", delivery.number)))
        }
        Outcome::Failed(failure) => {
            Err(Fault::not_found(format!("attempt {n} got no answer: {}", failure.kind.as_str())))
        }
    }
}

/// `GET /api/deliveries/{id}/curl`: a command that sends it again, byte for byte.
pub async fn curl(State(inspector): State<Inspector>, Path(id): Path<String>) -> Answer {
    let recorded = inspector.find(&id).await?;
    let through = (inspector.0.parts.through)().map(|through| through.ingress);
    let target = through.unwrap_or_else(|| Target::local("localhost", 4400));
    let name = format!("delivery-{}.sh", recorded.delivery.number);
    Ok(file_answer(request_text::curl(&target, &recorded.request), &name))
}

/// `GET /api/deliveries/{id}/fixture`: a fixture of it, as `fixtures from` makes it.
pub async fn fixture(State(inspector): State<Inspector>, Path(id): Path<String>) -> Answer {
    let Recorded { delivery, request } = inspector.find(&id).await?;
    let made = Templates::new(false).fixture(&request.body, delivery.received_at);
    let made = made.ok_or_else(|| {
        Fault::new(
            StatusCode::CONFLICT,
            "not_an_object",
            "the body is not a JSON object, so it cannot be a fixture",
        )
    })?;
    Ok(file_answer(made, &format!("delivery-{}.json", delivery.number)))
}

/// Which two are compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    a: String,
    b: String,
    /// Whether what the handler answered is compared, and not the requests.
    #[serde(default)]
    answers: bool,
}

/// `GET /api/deliveries/diff`: what is different, as `deliveries diff --json` says it.
pub async fn difference(State(inspector): State<Inspector>, Asked(pair): Asked<Pair>) -> Answer {
    let (a, b) = (inspector.find(&pair.a).await?, inspector.find(&pair.b).await?);
    let compare = move || {
        let value = if pair.answers {
            OutcomeDifference::between(a.delivery.last_attempt(), b.delivery.last_attempt()).to_value()
        } else {
            RequestDifference::between(&a.request, &b.request).to_value()
        };
        object(&a.delivery, &b.delivery, pair.answers, value)
    };
    // Large bodies take a while.
    let value = tokio::task::spawn_blocking(compare).await.map_err(|_ended| {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "diff", "these two cannot be compared")
    })?;
    Ok(object_answer(&value))
}

/// How many deliveries about a bot are looked at.
const LONGEST_LIFE: usize = 1000;

/// `GET /api/timeline/{bot_id}`: what was heard of a bot, in order, and what is odd about it.
pub async fn timeline(State(inspector): State<Inspector>, Path(bot_id): Path<String>) -> Answer {
    let look = move |reader: &Reader| {
        let query = Query { search: Some(bot_id.clone()), limit: LONGEST_LIFE, ..Query::default() };
        let found = reader.list(&query)?;
        let is_whole = found.len() < LONGEST_LIFE;
        let find = |delivery: Delivery| reader.find(&Selector::Number(delivery.number)).transpose();
        let recorded = found.into_iter().filter_map(find).collect::<Result<Vec<_>, _>>()?;
        Ok(Timeline::of(&bot_id, recorded).object(is_whole))
    };
    let life = inspector.read(look).await?;
    life.map(|object| object_answer(&object)).ok_or_else(|| Fault::not_found("nothing was recorded so far"))
}

impl Inspector {
    /// The delivery of an id or a number, as it stands in a path.
    pub(super) async fn find(&self, id: &str) -> Result<Recorded, Fault> {
        let selector = selector(id)?;
        let found = self.read(move |reader| reader.find(&selector)).await?.flatten();
        found.ok_or_else(|| no_such(id))
    }
}

fn selector(id: &str) -> Result<Selector, Fault> {
    id.parse().map_err(Fault::bad_request)
}

fn no_such(id: &str) -> Fault {
    Fault::not_found(format!("there is no delivery {id}"))
}

fn inexpressible(error: &serde_json::Error) -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "json", error.to_string())
}
