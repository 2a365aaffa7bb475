//! What there is to ask for.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde_json::json;

use super::answer::{Fault, object_answer, text_answer};
use super::{Inspector, actions, bots, catalogue, check, deliveries, export, live, page, stats};
use crate::model::{FORMAT_VERSION, Target};

/// The largest order that is taken, in bytes: a body in JSON, in which every character may be escaped.
const LARGEST_ORDER: usize = 64 * 1024 * 1024;

/// Every route: its path and what answers.
fn table() -> Vec<(&'static str, MethodRouter<Inspector>)> {
    vec![
        ("/", get(page::index)),
        ("/page/{*file}", get(page::file)),
        ("/api/status", get(status)),
        ("/api/live", get(live::live)),
        ("/api/openapi.json", get(description)),
        ("/api/stats", get(stats::stats)),
        ("/api/timeline", get(bots::bots)),
        ("/api/timeline/{bot_id}", get(deliveries::timeline)),
        ("/api/events", get(catalogue::list)),
        ("/api/events/{contract}/{event}", get(catalogue::one)),
        ("/api/fixtures/{contract}/{event}", get(catalogue::fixture)),
        ("/api/trigger", post(actions::trigger)),
        ("/api/check", post(check::check)),
        ("/api/deliveries", get(deliveries::list)),
        ("/api/deliveries/diff", get(deliveries::difference)),
        ("/api/deliveries/{id}", get(deliveries::one).delete(actions::delete)),
        ("/api/deliveries/{id}/body", get(deliveries::body)),
        ("/api/deliveries/{id}/curl", get(deliveries::curl)),
        ("/api/deliveries/{id}/fixture", get(deliveries::fixture)),
        ("/api/deliveries/{id}/replay", post(actions::replay)),
        ("/api/deliveries/{id}/attempts/{n}/body", get(deliveries::answer_body)),
        ("/api/export/{format}", get(export::export)),
    ]
}

/// All routes, for that inspector.
pub fn routes(inspector: Inspector) -> Router {
    let router =
        table().into_iter().fold(Router::new(), |router, (path, answers)| router.route(path, answers));
    router
        .fallback(async || Fault::not_found("there is nothing here"))
        .layer(DefaultBodyLimit::max(LARGEST_ORDER))
        .with_state(inspector)
}

/// What there is to ask for, in OpenAPI 3.1; a test holds it against the routes and their answers.
const DESCRIPTION: &str = include_str!("openapi.json");

/// `GET /api/openapi.json`
async fn description() -> Response {
    text_answer(DESCRIPTION.to_owned())
}

/// `GET /api/status`: what runs, where requests may go, and who is there.
async fn status(State(inspector): State<Inspector>) -> Result<Response, Fault> {
    let parts = &inspector.0.parts;
    let through = (parts.through)();
    let target =
        |target: &Target| json!({ "target": target.to_string(), "down": parts.pipeline.is_down(target) });
    let forwarding = through.as_ref().map(|through| through.targets.as_slice()).unwrap_or_default();
    let targets: Vec<_> = forwarding.iter().chain(&parts.targets).map(target).collect();
    let read = inspector
        .read(|reader| Ok((reader.count(&crate::store::Query::default())?, super::told::newest(reader)?)));
    let (deliveries, last) = read.await?.unwrap_or_default();
    let tunnel = inspector.tunnel();
    let public = tunnel.as_ref().and_then(|tunnel| tunnel.public.as_deref());
    let tunnel =
        tunnel.as_ref().map(|tunnel| json!({ "state": tunnel.state.as_str(), "message": tunnel.why }));
    Ok(object_answer(&json!({
        "v": FORMAT_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "inspector": inspector.url(),
        "ingress": through.map(|through| through.url),
        "public": public,
        "tunnel": tunnel,
        "targets": targets,
        "any_target": parts.any_target,
        "paused": parts.pipeline.is_paused(),
        "deliveries": deliveries,
        "last": last,
    })))
}
