//! Access control of routes.
//!
//! A route is open, for viewers or for administrators ([`Audience`]). Administrators have `APP_ADMIN_TOKEN`. Viewers have
//! `APP_VIEWER_TOKEN`: they read everything that administrators read and change nothing. In development without
//! `APP_ADMIN_TOKEN`, clients on the same machine are administrators. `APP_PUBLIC_READS` opens the routes for viewers to
//! every client.

use std::{collections::HashMap, net::IpAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::time::{Duration, Instant};

use super::{App, LOG_PERIOD, accept::Peer, host::Host, places, problem::Problem};
use crate::{
    config::{Config, Secret},
    documents::Audience,
    model::LogThrottle,
    telemetry::metrics::Refusal,
};

/// Headers that show that a proxy has forwarded a request.
const PASSED_ON: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// The role of a request, from its token or from the machine that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Viewer,
    Administrator,
}

/// Lets a request through if it may use the route, and adds its [`Role`], if it has one, to the request's extensions.
pub(super) async fn only(State((app, audience)): State<(App, Audience)>, mut request: Request, next: Next) -> Response {
    match may(&app, &request, audience) {
        Ok(role) => {
            if let Some(role) = role {
                request.extensions_mut().insert(role);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// What a client needs to become an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    /// Nothing: it is an administrator already.
    Open,
    /// The token.
    Token,
    /// It cannot become one from its machine.
    Closed,
}

impl Access {
    pub(super) fn of(config: &Config, role: Option<Role>) -> Self {
        let app = &config.app;
        match role {
            Some(Role::Administrator) if app.admin_token.is_none() => Self::Open,
            _ if app.admin_token.is_some() || app.viewer_token.is_some() => Self::Token,
            _ => Self::Closed,
        }
    }
}

fn may(app: &App, request: &Request, audience: Audience) -> Result<Option<Role>, Problem> {
    let config = &app.config;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let may_be_forged = !reads && is_foreign(request);
    if may_be_forged && !is_listed(config, request) {
        // Cross-site request forgery: a foreign page made the browser send the request, not its user.
        return Err(foreign());
    }
    let role = match bearer(request.headers())? {
        Some(token) => app.0.guesses.check(app, request, token)?,
        None => None,
    };
    match role {
        Some(Role::Viewer) if !reads => {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "the viewer's token may only read; this needs APP_ADMIN_TOKEN",
            ));
        }
        Some(_) => return Ok(role),
        // A browser does not add a bearer token by itself, so a request from another origin must come from a page with a token.
        None if may_be_forged => return Err(foreign()),
        None => {}
    }
    let is_public = audience == Audience::Viewers && config.http.public_reads;
    let trusts_machine = config.app.admin_token.is_none() && !config.production;
    if trusts_machine && is_local(app, request) {
        // Here the address replaces a token, and a browser sends the requests of every page from this address.
        return match (is_foreign(request), is_public) {
            (false, _) => Ok(Some(Role::Administrator)),
            (true, true) => Ok(None),
            (true, false) => Err(foreign()),
        };
    }
    if is_public {
        return Ok(None);
    }
    if config.app.admin_token.is_some() || reads && config.app.viewer_token.is_some() {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "send the token as `Authorization: Bearer …`")
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    let detail = match audience {
        Audience::Viewers if config.production => {
            "this route needs APP_VIEWER_TOKEN or APP_ADMIN_TOKEN to be set, or APP_PUBLIC_READS=True"
        }
        _ if config.production => "in production this route needs APP_ADMIN_TOKEN to be set",
        _ => "without APP_ADMIN_TOKEN this route answers only clients on the same machine",
    };
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn foreign() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "the request comes from a page of another origin")
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(given) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        // A proxy may check another one than the service does.
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the request has several Authorization headers"));
    }
    let given = given.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    Ok(given.map(|(_, token)| token))
}

fn role_of(config: &Config, given: &[u8]) -> Option<Role> {
    let is = |token: &Option<Secret>| token.as_ref().is_some_and(|token| given.ct_eq(token.expose().as_bytes()).into());
    if is(&config.app.admin_token) {
        Some(Role::Administrator)
    } else if is(&config.app.viewer_token) {
        Some(Role::Viewer)
    } else {
        None
    }
}

/// Counts wrong tokens by the address that sent them.
pub(super) struct Guesses {
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
    throttle: LogThrottle,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { wrong: Mutex::default(), throttle: LogThrottle::new(LOG_PERIOD) }
    }
}

struct Wrong {
    since: Instant,
    tokens: u32,
}

impl Guesses {
    /// Maximum number of wrong tokens from one address in [`PERIOD`](Self::PERIOD). Beyond it, the address's tokens are refused
    /// without a comparison until the period is over.
    const MOST: u32 = 30;
    const PERIOD: Duration = Duration::from_mins(1);
    /// Maximum number of addresses that are tracked.
    const ADDRESSES: usize = 10_000;

    fn check(&self, app: &App, request: &Request, token: &[u8]) -> Result<Option<Role>, Problem> {
        let address = sender(request);
        if let Some(address) = address
            && self.wrong.lock().get(&address).is_some_and(|wrong| wrong.tokens >= Self::MOST && !wrong.is_over())
        {
            app.sources.metrics.refused(Refusal::Guessing);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens came from this address")
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")));
        }
        let role = role_of(&app.config, token);
        if role.is_none() && (app.config.app.admin_token.is_some() || app.config.app.viewer_token.is_some()) {
            self.note(app, address);
        }
        Ok(role)
    }

    fn note(&self, app: &App, address: Option<IpAddr>) {
        app.sources.metrics.refused(Refusal::Token);
        if let Some(held_back) = self.throttle.pass() {
            let from = address.map(|address| address.to_string()).unwrap_or_default();
            tracing::warn!(from, held_back, "a request had a wrong token");
        }
        let Some(address) = address else { return };
        let mut wrong = self.wrong.lock();
        if wrong.len() >= Self::ADDRESSES {
            wrong.retain(|_, wrong| !wrong.is_over());
            if wrong.len() >= Self::ADDRESSES {
                wrong.clear();
            }
        }
        let entry = wrong.entry(address).or_insert_with(Wrong::none);
        if entry.is_over() {
            *entry = Wrong::none();
        }
        entry.tokens += 1;
    }
}

impl Wrong {
    fn none() -> Self {
        Self { since: Instant::now(), tokens: 0 }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= Guesses::PERIOD
    }
}

/// The client address whose guesses a request counts to. `x-forwarded-for` is trusted only from a proxy on this machine.
fn sender(request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0.ip();
    let named = || {
        let list = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        list.rsplit(',').next()?.trim().parse().ok()
    };
    let named = if peer.to_canonical().is_loopback() { named() } else { None };
    Some(places::client(named.unwrap_or(peer)))
}

fn is_local(app: &App, request: &Request) -> bool {
    let peer = request.extensions().get::<Peer>();
    if !peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback()) {
        return false;
    }
    // A proxy on the same machine forwards requests of remote clients and shows it by a header.
    let Some(header) = PASSED_ON.iter().find(|name| request.headers().contains_key(**name)) else { return true };
    if app.0.behind_proxy.pass().is_some() {
        tracing::warn!(
            header,
            "a proxy on this machine forwards requests, so remote clients may look like local ones; set APP_ADMIN_TOKEN, because \
             behind a proxy that sends no forwarding header every client is an administrator"
        );
    }
    false
}

/// Whether `APP_CORS_ORIGINS` names the origin of the page; `*` does not name one.
fn is_listed(config: &Config, request: &Request) -> bool {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let listed = config.http.cors_origins.as_deref().unwrap_or_default();
    config.http.cors && origin.is_some_and(|origin| listed.iter().any(|known| known == origin))
}

/// Whether the browser's headers show that the request comes from a page of another origin.
fn is_foreign(request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = header("origin") else { return false };
    let from = origin.split_once("://").and_then(|(_, host)| Host::parse(host));
    from.is_none() || from != Host::of(request).ok()
}
