//! Who may change something, or see payloads.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::{App, accept::Peer, host::Host, problem::Problem};
use crate::config::{Config, Secret};

/// Lets a request through that may administer.
pub(super) async fn only(State(app): State<App>, request: Request, next: Next) -> Response {
    match may(&app.config, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What somebody who asks like this needs, to administer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// The token.
    Token,
    /// It is not possible from where they are.
    Closed,
}

impl Access {
    pub(super) fn of(config: &Config, request: &Request) -> Self {
        match may(config, request) {
            _ if config.app.admin_token.is_some() => Self::Token,
            Ok(()) => Self::Open,
            Err(_) => Self::Closed,
        }
    }
}

fn may(config: &Config, request: &Request) -> Result<(), Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) && is_foreign(request) {
        // A page of somebody else makes the browser ask; the browser's user has not.
        return Err(Problem::new(StatusCode::FORBIDDEN, "the request comes from a page of another origin"));
    }
    match &config.app.admin_token {
        Some(token) if has_token(request.headers(), token) => Ok(()),
        Some(_) => Err(Problem::new(StatusCode::UNAUTHORIZED, "send the token as `Authorization: Bearer …`")
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        None if config.production => {
            Err(Problem::new(StatusCode::FORBIDDEN, "this route needs APP_ADMIN_TOKEN to be set, in production always"))
        }
        None if is_local(request) => Ok(()),
        None => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "without APP_ADMIN_TOKEN this route answers clients of the same machine only",
        )),
    }
}

fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given =
        given.and_then(|value| value.split_at_checked(7)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    given.is_some_and(|(_, given)| given.ct_eq(token.expose().as_bytes()).into())
}

fn is_local(request: &Request) -> bool {
    // A proxy on the same machine passes strangers on, and says so.
    let passed_on =
        ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| request.headers().contains_key(*name));
    let peer = request.extensions().get::<Peer>();
    !passed_on && peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback())
}

/// Whether a browser says that a page of another origin asks.
fn is_foreign(request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = header("origin") else { return false };
    let from = origin.split_once("://").and_then(|(_, host)| Host::parse(host));
    from.is_none() || from != Host::of(request).ok()
}
