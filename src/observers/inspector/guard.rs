//! Who may ask the inspector anything: a browser that was let in, on this host and this port, or a script with the token.
//!
//! It shows what strangers sent and can send requests itself, so it trusts nothing that another page could have made the
//! browser send: `Host` must name this very listener (DNS rebinding), `Origin` must be ours wherever something changes,
//! and every request but the one that lets in carries the token of this run.

use std::sync::{Mutex, PoisonError};

use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN, SEC_WEBSOCKET_VERSION,
};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::model::Secret;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the inspector of one run accepts.
#[derive(Debug)]
pub struct Guard {
    port: u16,
    token: Secret,
    /// Lets one browser in, once: what is given to a browser on its command line is seen by every user of the machine.
    once: Mutex<Option<Secret>>,
}

/// A request that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status that says so.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// One sentence that says what is wrong, and one that says what to do.
    pub message: &'static str,
}

/// What a request may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// What it asks for.
    Granted,
    /// The cookie, with which it asks again.
    LetIn,
}

impl Guard {
    /// Accepts requests to this port with that token.
    pub fn new(port: u16, token: Secret) -> Self {
        Self { port, token, once: Mutex::new(None) }
    }

    /// Lets one browser in that brings this, instead of what was given before.
    pub fn let_in_once(&self, once: Secret) {
        *self.once.lock().unwrap_or_else(PoisonError::into_inner) = Some(once);
    }

    /// The name of the cookie: browsers send cookies to every port of a host, so the port is in the name.
    pub fn cookie_name(&self) -> String {
        format!("mbaas-dev-{}", self.port)
    }

    /// The `Set-Cookie` that lets a browser in until it is closed.
    pub fn cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name(), self.token.expose())
    }

    /// Whether a request is answered.
    pub fn check(&self, request: &Parts) -> Result<Pass, Refusal> {
        let origin = self.own_origin(request).ok_or(WRONG_HOST)?;
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let given_origin = origins.next();
        if origins.next().is_some() || given_origin.is_some_and(|given| given.as_bytes() != origin.as_bytes())
        {
            return Err(WRONG_ORIGIN);
        }
        if let Some(token) = query_value(request.uri.query(), "token") {
            return if request.method == Method::GET && request.uri.path() == "/" && self.lets_in(token) {
                Ok(Pass::LetIn)
            } else {
                Err(NO_TOKEN)
            };
        }
        let by_script = self.has_bearer(&request.headers);
        if !by_script && !self.has_cookie(&request.headers) {
            return Err(NO_TOKEN);
        }
        let is_elsewhere =
            request.headers.get_all(FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none");
        if is_elsewhere {
            return Err(WRONG_ORIGIN);
        }
        if !changes_or_streams(request) {
            return Ok(Pass::Granted);
        }
        if given_origin.is_none() && !by_script {
            return Err(WRONG_ORIGIN);
        }
        if request.method == Method::POST && !is_json(&request.headers) {
            return Err(NOT_JSON);
        }
        Ok(Pass::Granted)
    }

    /// The origin that pages of ours have when they came from the host that the request names; none when that is not us.
    fn own_origin(&self, request: &Parts) -> Option<String> {
        let mut hosts = request.headers.get_all(HOST).iter();
        let host = hosts.next().map(|host| host.to_str().ok());
        let named = request.uri.authority().map(http::uri::Authority::as_str);
        let host = match (host, named) {
            (Some(None), _) | (None, None) => return None,
            (Some(Some(host)), None) => host,
            (None, Some(named)) => named,
            (Some(Some(host)), Some(named)) => (host == named).then_some(host)?,
        };
        if hosts.next().is_some() {
            return None;
        }
        let is_ours = ["127.0.0.1", "localhost"].iter().any(|name| {
            // A port that is the scheme's own is left out.
            host == format!("{name}:{}", self.port) || (self.port == 80 && host == *name)
        });
        is_ours.then(|| format!("http://{host}"))
    }

    fn lets_in(&self, given: &str) -> bool {
        if self.token.is(given.as_bytes()) {
            return true;
        }
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        once.take_if(|once| once.is(given.as_bytes())).is_some()
    }

    fn has_bearer(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let bearer = given.next().and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.next().is_none() && bearer.is_some_and(|bearer| self.token.is(bearer))
    }

    /// Any cookie of our name will do: a page on another port can add some, and must not lock us out with it.
    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let cookies = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
        cookies
            .filter_map(|cookie| cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .any(|value| self.token.is(value))
    }
}

fn changes_or_streams(request: &Parts) -> bool {
    let is_safe = [Method::GET, Method::HEAD].contains(&request.method);
    !is_safe || request.headers.contains_key(SEC_WEBSOCKET_VERSION)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The value of a key of a query, as it is written.
fn query_value<'a>(query: Option<&'a str>, key: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

const WRONG_HOST: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "host",
    message: "This host name is not the inspector's own. Open it as http://127.0.0.1 with its port.",
};

const WRONG_ORIGIN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "origin",
    message: "The request comes from another page. Only the inspector's own page and scripts with its token may ask.",
};

const NO_TOKEN: Refusal = Refusal {
    status: StatusCode::UNAUTHORIZED,
    code: "token",
    message: "This browser was not let in. Open the address that `mbaas-dev listen` shows as `inspector`, \
              with its token.",
};

const NOT_JSON: Refusal = Refusal {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    code: "content_type",
    message: "The request is not JSON. Send it with Content-Type: application/json.",
};

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "t0ken";

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let guard = Guard::new(4401, TOKEN.into());
        guard.let_in_once("0nce".into());
        match guard.check(&parts(method, uri, headers)) {
            Ok(Pass::Granted) => 200,
            Ok(Pass::LetIn) => 303,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4401");
    const COOKIE: (&str, &str) = ("cookie", "mbaas-dev-4401=t0ken");
    const BEARER: (&str, &str) = ("authorization", "Bearer t0ken");
    const OWN: (&str, &str) = ("origin", "http://127.0.0.1:4401");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn a_browser_is_let_in_with_the_token_and_a_script_brings_it() {
        for (expected, method, uri, headers) in [
            (303, "GET", "/?token=t0ken", &[HOST][..]),
            (303, "GET", "/?token=0nce", &[HOST]),
            (401, "GET", "/?token=wrong", &[HOST, COOKIE]),
            (401, "POST", "/?token=t0ken", &[HOST]),
            (401, "GET", "/api/status?token=t0ken", &[HOST]),
            (401, "GET", "/", &[HOST]),
            (200, "GET", "/", &[HOST, COOKIE]),
            (200, "GET", "/", &[HOST, ("cookie", "a=b; mbaas-dev-4401=x;mbaas-dev-4401=t0ken")]),
            (401, "GET", "/", &[HOST, ("cookie", "mbaas-dev-4402=t0ken; xmbaas-dev-4401=t0ken")]),
            (200, "GET", "/", &[HOST, BEARER]),
            (401, "GET", "/", &[HOST, ("authorization", "t0ken")]),
            (401, "GET", "/", &[HOST, BEARER, ("authorization", "Bearer x")]),
            (200, "GET", "/", &[("host", "localhost:4401"), COOKIE]),
            (403, "GET", "/", &[("host", "LOCALHOST:4401"), COOKIE]),
            (403, "GET", "/", &[("host", "evil.example:4401"), COOKIE]),
            (403, "GET", "/", &[("host", "127.0.0.1"), COOKIE]),
            (403, "GET", "/", &[HOST, ("host", "evil.example"), COOKIE]),
            (403, "GET", "/", &[COOKIE]),
        ] {
            assert_eq!(check(method, uri, headers), expected, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn whatever_changes_something_comes_from_our_own_page_or_a_script() {
        for (expected, method, headers) in [
            (200, "POST", &[HOST, COOKIE, OWN, JSON][..]),
            (200, "POST", &[HOST, BEARER, JSON]),
            (403, "POST", &[HOST, COOKIE, JSON]),
            (415, "POST", &[HOST, COOKIE, OWN]),
            (415, "POST", &[HOST, COOKIE, OWN, ("content-type", "text/plain")]),
            (403, "POST", &[HOST, COOKIE, JSON, ("origin", "http://localhost:4401")]),
            (403, "POST", &[HOST, COOKIE, JSON, OWN, OWN]),
            (403, "POST", &[HOST, BEARER, JSON, ("origin", "https://evil.example")]),
            (403, "GET", &[HOST, COOKIE, ("origin", "null")]),
            (403, "GET", &[HOST, COOKIE, ("sec-fetch-site", "same-site")]),
            (200, "GET", &[HOST, COOKIE, ("sec-fetch-site", "none")]),
            (403, "DELETE", &[HOST, COOKIE]),
            (200, "DELETE", &[HOST, COOKIE, OWN]),
            (403, "GET", &[HOST, COOKIE, ("sec-websocket-version", "13")]),
            (200, "GET", &[HOST, COOKIE, OWN, ("sec-websocket-version", "13")]),
        ] {
            assert_eq!(check(method, "/api/x", headers), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn the_token_for_the_command_line_of_a_browser_works_once() {
        let guard = Guard::new(4401, TOKEN.into());
        let request = parts("GET", "/?token=0nce", &[HOST]);
        assert_eq!(guard.check(&request), Err(NO_TOKEN));
        guard.let_in_once("0nce".into());
        let request = parts("GET", "/?token=0nce", &[HOST]);
        assert_eq!(guard.check(&request), Ok(Pass::LetIn));
        assert_eq!(guard.check(&request), Err(NO_TOKEN));
        let request = parts("GET", "/?token=t0ken", &[HOST]);
        assert_eq!(guard.check(&request), Ok(Pass::LetIn));
        assert_eq!(guard.check(&request), Ok(Pass::LetIn));
    }
}
