//! The files of the page. They are compiled into the binary, and browsers cache them until the build changes.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use xxhash_rust::xxh3::Xxh3Default;

use crate::http::{App, problem::Problem};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

/// A file in `assets/`, by its relative path.
macro_rules! asset {
    ($path:literal, $media_type:expr) => {
        Asset { name: $path, media_type: $media_type, text: include_str!(concat!("assets/", $path)) }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

static ASSETS: [Asset; 21] = [
    asset!("app.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("dead_letters.js", SCRIPT),
    asset!("dialogs.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("event_stream.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("jobs.js", SCRIPT),
    asset!("letter.js", SCRIPT),
    asset!("letter_rows.js", SCRIPT),
    asset!("overview.js", SCRIPT),
    asset!("processors.js", SCRIPT),
    asset!("replay.js", SCRIPT),
    asset!("tables.js", SCRIPT),
    asset!("waiting.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("theme.css", STYLE),
    asset!("icon.svg", "image/svg+xml"),
    asset!("vendor/uPlot.esm.js", SCRIPT),
    asset!("vendor/uPlot.min.css", STYLE),
];

/// The version of this build's files, a part of their URLs. Modules import each other by relative URLs, so all files change
/// together.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Xxh3Default::new();
    for Asset { name, text, .. } in &ASSETS {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    format!("{:016x}", hash.digest())
});

/// The page's content security policy: it may load its own files and send requests to this service, and has no inline script or
/// style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     require-trusted-types-for 'script'; trusted-types 'none'; form-action 'none'; base-uri 'none'; \
     frame-ancestors 'none'";

/// `GET /`.
pub(in crate::http) async fn index(State(app): State<App>) -> Response {
    let html = include_str!("assets/index.html")
        .replace("{{assets}}", &format!("/page/assets/{}", *VERSION))
        .replace("{{domain}}", &escaped(app.dispatcher.name))
        .replace("{{title}}", &escaped(&app.config.app.name));
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
}

/// `GET /page/assets/{version}/{name}`.
pub(in crate::http) async fn asset(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|asset| asset.name == name && version == *VERSION);
    // A file of another build must not be cached under this URL.
    let asset =
        found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "this build has no such file; load / again"))?;
    let tag = format!("\"{version}\"");
    let cached = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "public, max-age=31536000, immutable".into())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    Ok((cached, [(header::CONTENT_TYPE, asset.media_type)], asset.text).into_response())
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
