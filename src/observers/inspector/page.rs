//! The page: its files, and what a browser sees that was not let in.
//!
//! Every file below `page/` is served as it is at `/page/…`, and `index.html` with its style sheet within at `/`. A browser
//! may keep them, and asks each time whether they are still those.

use std::io::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, SET_COOKIE, VARY,
};
use include_dir::{Dir, File, include_dir};
use sha2::{Digest, Sha256};

use super::answer::Fault;
use super::guard::Refusal;

const FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/observers/inspector/page");

/// `index.html` with the style sheet within: a browser paints it without asking for anything else.
static INDEX: LazyLock<String> = LazyLock::new(|| {
    text("index.html").replace(STYLE_LINK, &format!("<style>{}</style>", text("style.css")))
});

const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"/page/style.css\">";

/// The style sheet within `/`, as a `Content-Security-Policy` names it.
pub fn style_source() -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text("style.css"))))
}

fn text(name: &str) -> &'static str {
    FILES.get_file(name).and_then(File::contents_utf8).unwrap_or_default()
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// `GET /`.
pub async fn index(headers: HeaderMap) -> Response {
    answer(INDEX.as_bytes(), "text/html; charset=utf-8", &headers)
}

/// `GET /page/{file}`: a script, a style sheet, a picture.
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Fault> {
    served(&name, &headers)
}

fn served(name: &str, asked: &HeaderMap) -> Result<Response, Fault> {
    let found = FILES.get_file(name).and_then(|file| Some((file, kind(name)?)));
    let (file, kind) = found.ok_or_else(|| Fault::not_found("there is no such file"))?;
    Ok(answer(file.contents(), kind, asked))
}

fn answer(bytes: &'static [u8], kind: &'static str, asked: &HeaderMap) -> Response {
    let packed = if takes_gzip(asked) { gzip(bytes) } else { None };
    let tag = tag(bytes, packed.is_some());
    let is_known = asked.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let is_packed = packed.is_some();
    let body = packed.map_or_else(|| Body::from(bytes), Body::from);
    let mut response = Response::new(if is_known { Body::empty() } else { body });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// Whether a browser takes gzip: all of them say so in this way.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let codings = asked.get(ACCEPT_ENCODING).and_then(|codings| codings.to_str().ok()).unwrap_or_default();
    codings.split(',').any(|coding| coding.trim() == "gzip")
}

/// A third of the size, made when it is asked for: a millisecond for all files.
fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// The same for the same bytes, whichever program has them.
fn tag(bytes: &[u8], is_packed: bool) -> String {
    let packed = if is_packed { "-gzip" } else { "" };
    format!("\"{}{packed}\"", hex::encode(&Sha256::digest(bytes)[..12]))
}

fn kind(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" | "mjs" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// Lets a browser in: it comes back by itself, with the cookie and without the token in its address. A redirect would
/// come back without the cookie when another program's page opened the address.
pub fn let_in(cookie: &str) -> Response {
    let mut response = html(
        "<!doctype html><html lang=en><meta http-equiv=refresh content=\"0;url=/\"><title>mbaas-dev</title>\
          <link rel=icon href=\"/page/icon.svg\"><a href=\"/\">Open the inspector</a></html>",
    );
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Says why there is no page.
pub fn refusal(refusal: Refusal) -> Response {
    let text = format!(
        "<!doctype html><html lang=en><title>mbaas-dev inspector</title><h1>{}</h1><p>{}</p></html>",
        refusal.status.as_u16(),
        refusal.message,
    );
    let mut response = html(text.into_bytes());
    *response.status_mut() = refusal.status;
    response
}

fn html(text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(folder: &Dir<'static>) -> Vec<&'static str> {
        let own = folder.files().filter_map(|file| file.path().to_str());
        own.chain(folder.dirs().flat_map(names)).collect()
    }

    /// The modules that `name` imports when it is loaded, and those that they import.
    fn imported(name: &str, all: &mut BTreeSet<String>) {
        if !all.insert(name.to_owned()) {
            return;
        }
        for line in text(name).lines().filter(|line| line.starts_with("import ")) {
            imported(line.rsplit_once("\"./").unwrap().1.trim_end_matches("\";"), all);
        }
    }

    #[test]
    fn what_is_asked_for_at_the_start_is_what_the_list_needs() {
        let mut all = BTreeSet::new();
        imported("app.js", &mut all);
        let needed = text("start.js").split_once("NEEDED = [").unwrap().1.split_once(']').unwrap().0;
        let named = needed.split('"').skip(1).step_by(2).map(|name| format!("{name}.js"));
        assert_eq!(named.collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn the_page_has_its_style_sheet_within() {
        assert!(!INDEX.contains("stylesheet") && INDEX.contains(text("style.css")));
    }

    #[test]
    fn every_file_of_the_page_has_a_type_and_a_tag_of_its_own() {
        let names = names(&FILES);
        assert!(names.contains(&"index.html"));
        for name in names {
            let response =
                served(name, &HeaderMap::new()).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            assert_eq!(response.status(), 200, "{name}");
            let mut known = HeaderMap::new();
            known.insert(IF_NONE_MATCH, response.headers()[ETAG].clone());
            assert_eq!(served(name, &known).unwrap().status(), 304, "{name}");
        }
    }
}
