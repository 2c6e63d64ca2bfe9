//! The layers that every request and answer passes.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, CompressionLevel,
        predicate::{And, NotForContentType, Predicate, SizeAbove},
    },
    cors::{AllowOrigin, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
};

use super::{
    App,
    accept::Peer,
    admin, body,
    host::{Host, NoHost},
    problem::Problem,
};
use crate::{config::Config, documents::Audience, model::is_loopback, store::postgres};

/// Maximum size of a header, including its name.
const HEADER_BYTES: usize = 16 * 1024;
/// Maximum size of all headers together. The HTTP parser checks this only roughly, because it reads ahead before it measures.
pub(super) const HEAD_BYTES: usize = 32 * 1024;
/// Maximum size of a request's target.
const TARGET_BYTES: usize = 8 * 1024;
/// Time limit for an answer, from the moment at which the body was read.
const ANSWER: Duration = Duration::from_secs(15);
// A slow store must be reported as such, before the answer's time limit is over.
const _: () =
    assert!(postgres::VIEW.as_secs() + 5 < ANSWER.as_secs(), "the store's time limit must be below that of an answer");

/// Adds the layers that all routes of one [`Audience`] share. A request passes in this order: access, the limits of its body, the
/// body, and the route with its time limit.
pub(super) fn within(routes: Router<App>, app: &App, audience: Audience) -> Router<App> {
    let mut routes = routes.route_layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER));
    if audience == Audience::Administrators {
        // Only administrators' routes read bodies.
        routes = routes.route_layer(middleware::from_fn_with_state(app.clone(), body::whole));
    }
    if audience != Audience::Open {
        routes = routes.route_layer(middleware::from_fn_with_state((app.clone(), audience), admin::only));
    }
    routes
}

/// Adds the outer layers; the last one here is the first that a request passes.
pub(super) fn around(routes: Router, app: &App) -> Router {
    let config = &app.config;
    let mut router = routes;
    if config.http.gzip {
        router =
            router.layer(CompressionLayer::new().quality(CompressionLevel::Precise(5)).compress_when(worth_it(config)));
    }
    router = router.layer(middleware::map_response(as_problem)).layer(CatchPanicLayer::custom(panicked));
    if config.http.cors {
        router = router.layer(cors(config));
    }
    if config.http.https_redirect {
        router = router.layer(middleware::from_fn_with_state(app.clone(), to_https));
    }
    router
        .layer(middleware::from_fn_with_state(app.clone(), well_formed))
        .layer(middleware::map_response(secure))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// Whether a route answers requests with any host and scheme, because probes connect by address.
pub(super) fn is_probe(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/") || path == "/metrics"
}

/// Refuses oversized or malformed requests, and hosts that are not trusted.
async fn well_formed(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES) {
        return Problem::new(StatusCode::URI_TOO_LONG, "the target is longer than 8 KiB").into_response();
    }
    let headers = request.headers();
    let sizes = || headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if sizes().any(|size| size > HEADER_BYTES) || sizes().sum::<usize>() > HEAD_BYTES {
        let detail = "a header is longer than 16 KiB, or all together are longer than 32 KiB";
        return Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail).into_response();
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body without a content encoding")
            .into_response();
    }
    let is_probe = is_probe(request.uri().path());
    let http = &app.config.http;
    match Host::of(&request) {
        Ok(host) if is_probe || !http.trusted_host || host.is_among(&http.trusted_hosts) => {}
        Ok(_) => return untrusted(),
        // HTTP/1.0 has no Host header, and some probes still use it.
        Err(NoHost::Missing) if is_probe && request.version() <= Version::HTTP_10 => {}
        Err(error) => return Problem::new(StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
    // A content length together with chunks can smuggle a request past a proxy. hyper drops the length, so a connection that
    // sends chunks is closed after this answer (RFC 9112, section 6.3).
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Redirects plain HTTP to https, with the same host, path and query.
async fn to_https(State(app): State<App>, request: Request, next: Next) -> Response {
    if is_behind_tls(&request) || is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(host) = Host::of(&request) else { return next.run(request).await };
    if request.headers().contains_key(header::AUTHORIZATION) {
        // The credentials were already sent unencrypted; a redirect would hide that.
        return Problem::new(StatusCode::FORBIDDEN, "send credentials by https only").into_response();
    }
    if !host.is_among(&app.config.http.trusted_hosts) {
        // Checked here too: if APP_MIDDLEWARE_TRUSTEDHOST is off, the redirect could lead to any host.
        return untrusted();
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let location = HeaderValue::try_from(format!("https://{}{target}", host.for_https()));
    match location {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => Problem::new(StatusCode::BAD_REQUEST, "the target cannot be redirected").into_response(),
    }
}

/// Whether TLS ends at a proxy. Only headers of a proxy on the same machine are trusted.
fn is_behind_tls(request: &Request) -> bool {
    if !request.extensions().get::<Peer>().is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback()) {
        return false;
    }
    let first = |name: &str| {
        // The first entry is from the proxy that the client connected to.
        let list = request.headers().get(name)?.to_str().ok()?;
        list.split(',').next().map(str::trim)
    };
    let by_forwarded = || {
        let pairs = first("forwarded")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut schemes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("proto"));
        schemes.next().map(|(_, scheme)| scheme.trim_matches('"'))
    };
    first("x-forwarded-proto").or_else(by_forwarded).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

fn untrusted() -> Response {
    // The answer does not repeat the name, because the sender chose it.
    Problem::new(StatusCode::BAD_REQUEST, "the host is not one of APP_TRUSTED_HOSTS").into_response()
}

/// Adds the headers that restrict what a browser does with an answer.
async fn secure(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 5] = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in HEADERS {
        // The page's routes set their own headers: the page loads its own files, and browsers may cache them.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Converts errors of layers and extractors to problem documents.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "there is no such route; GET /docs lists all routes",
        StatusCode::METHOD_NOT_ALLOWED => "the route does not have this method",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than 1 MiB",
        StatusCode::REQUEST_TIMEOUT => "the body took more than 10 s",
        StatusCode::GATEWAY_TIMEOUT => "the answer took more than 15 s",
        _ => status.canonical_reason().unwrap_or("the request failed"),
    };
    let mut problem = Problem::new(status, detail).into_response();
    for name in [header::ALLOW, header::CONNECTION] {
        if let Some(value) = response.headers().get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    // The panic's message went to standard error and must not be sent to the client.
    tracing::error!("a request handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; its id is in x-request-id").into_response()
}

fn cors(config: &Config) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION])
        .max_age(Duration::from_mins(10));
    match &config.http.cors_origins {
        Some(origins) if origins.iter().any(|origin| origin == "*") => layer.allow_origin(AllowOrigin::any()),
        Some(origins) => {
            let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
            layer.allow_origin(AllowOrigin::list(origins))
        }
        None if config.production => {
            let own = ["http", "https"].map(|scheme| format!("{scheme}://{}:{}", config.app.host, config.app.port));
            let own: Vec<HeaderValue> = own.iter().filter_map(|origin| origin.parse().ok()).collect();
            layer.allow_origin(AllowOrigin::list(own))
        }
        None => layer.allow_origin(AllowOrigin::predicate(|origin, _| origin.to_str().is_ok_and(is_loopback_origin))),
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    let Some(authority) = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme)) else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    is_loopback(host)
}

/// Compresses answers above a minimum size. Event streams are excluded, because events would wait in the compressor.
fn worth_it(config: &Config) -> And<SizeAbove, NotForContentType> {
    SizeAbove::new(config.http.gzip_minimum_size.into()).and(NotForContentType::const_new("text/event-stream"))
}
