//! What stands between a relay and whoever wants to use it: mostly a web server that passes on too little.

use bytes::Bytes;
use http::header::LOCATION;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::app::doctor::Check;
use crate::model::Printable;
use crate::sources::tunnel::RelayUrl;
use crate::websocket::NotOpened;

/// How much of what comes over the wire is shown.
const SHOWN: usize = 120;

/// What has a web server pass a WebSocket on.
const UPGRADE: &str = "let the web server pass WebSockets on: nginx needs `proxy_http_version 1.1; proxy_set_header Upgrade \
    $http_upgrade; proxy_set_header Connection $http_connection;`, Apache `ProxyPass … upgrade=websocket`, and Caddy nothing \
    but `reverse_proxy`";

/// What has a web server reach the relay.
const REACH: &str = "start the relay, and let the web server lead to its --listen address (nginx: `proxy_pass`, Caddy: \
    `reverse_proxy`)";

/// What an answer means that no relay gives.
pub fn of_answer(name: &'static str, relay: &RelayUrl, answer: &Response<Bytes>) -> Check {
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        let to = to.map(|to| format!(" to {}", Printable::text(&to).cut(SHOWN))).unwrap_or_default();
        return Check::finding(
            name,
            format!("{relay} redirects{to}"),
            "give the URL that it leads to, with wss://",
        );
    }
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Check::finding(name, format!("a web server answers {status}: it does not reach the relay"), REACH)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let found = format!("a web server answers {status}: it lets nobody through");
            let advice = "let it pass everything on, since the relay itself asks for an access token";
            Check::finding(name, found, advice)
        }
        _ => {
            let advice = "give the URL that the relay shows as `public`; with a path before it, let the web server take that \
                          path off";
            Check::finding(name, format!("{relay} answers {status}, as no relay does"), advice)
        }
    }
}

/// Why there is no tunnel.
pub fn of_tunnel(relay: &RelayUrl, has_token: bool, error: NotOpened) -> Check {
    let name = "tunnel";
    let answer = match error {
        NotOpened::Refused(answer) => answer.map(Bytes::from),
        NotOpened::OtherProtocol => {
            let found =
                "a WebSocket is opened, but not for a tunnel: `Sec-WebSocket-Protocol` is lost on the way";
            let advice = "let the web server pass that header on, or give the URL of a relay";
            return Check::finding(name, found, advice);
        }
        error => return Check::finding(name, format!("{relay}: {error}"), UPGRADE),
    };
    let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or_default();
    let message = Printable::text(message).cut(SHOWN);
    match (answer.status(), said["error"].as_str()) {
        (StatusCode::UNAUTHORIZED, Some("access")) if has_token && message.contains("has no") => {
            Check::finding(
                name,
                "the request reached the relay without its access token",
                "let the web server leave `Authorization` alone",
            )
        }
        (StatusCode::UNAUTHORIZED, Some("access")) if has_token => {
            Check::finding(name, "the access token is not right", "whoever runs the relay has the right one")
        }
        (StatusCode::UNAUTHORIZED, Some("access")) => Check::finding(
            name,
            "the relay wants an access token, and none is given",
            "give it with --access-token or MBAAS_DEV_ACCESS_TOKEN; whoever runs the relay has it",
        ),
        (StatusCode::BAD_REQUEST, Some("websocket")) if message.contains("subprotocol") => {
            let found = "the request reached the relay without its `Sec-WebSocket-Protocol`";
            Check::finding(name, found, "let the web server pass all headers on")
        }
        (StatusCode::BAD_REQUEST, Some("websocket")) => {
            Check::finding(name, "the request reached the relay without its `Upgrade`", UPGRADE)
        }
        (StatusCode::BAD_REQUEST, Some("token")) => {
            let found = "the request reached the relay without its `mbaas-dev-listen-token`";
            Check::finding(name, found, "let the web server pass all headers on")
        }
        (StatusCode::FORBIDDEN, Some("channel")) => {
            let advice = "let it have more (`max_channels` of the token, `relay --max-channels`), or give some up with `relay release`";
            Check::finding(name, message, advice)
        }
        (StatusCode::SERVICE_UNAVAILABLE, Some("crowded" | "connections")) => Check::finding(
            name,
            message,
            "let there be more (`max_tunnels` of the token, `relay --max-tunnels`), or try later",
        ),
        (StatusCode::SERVICE_UNAVAILABLE, Some("store")) => Check::finding(
            name,
            message,
            "see the log of the relay: its disk may be full, or its folder not its own",
        ),
        _ => of_answer(name, relay, &answer),
    }
}
