//! `GET /page/live`: what a page listens to, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `hello` comes first and tells everything; a `tick` follows every second. A page that does not read as fast is not
//! waited for: what it has missed is dropped, and it is greeted again.

use std::convert::Infallible;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
};

use super::hub::PAGES;
use crate::http::{
    App,
    accept::Ending,
    admin::{Access, Role},
    problem::Problem,
};

/// What the browser waits before it connects again, in milliseconds.
const PRELUDE: &str = "retry: 2000\n\n";

/// `GET /page/live`.
pub(in crate::http) async fn live(
    State(app): State<App>,
    role: Option<Extension<Role>>,
    ending: Option<Extension<Ending>>,
) -> Result<Response, Problem> {
    let place = app.0.hub.place(role.is_some()).ok_or_else(|| {
        let detail = format!("{PAGES} pages are open, which is as many as may be; close one");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("10"))
    })?;
    let access = Access::of(&app.config, role.map(|Extension(role)| role));
    let listener = Listener { app, access, place, ending: ending.map(|Extension(ending)| ending), ticks: None };
    let body = Body::from_stream(stream::unfold(listener, async |mut listener| {
        let next = listener.next().await?;
        Some((Ok::<_, Infallible>(next), listener))
    }));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// One open page.
struct Listener {
    app: App,
    access: Access,
    #[expect(dead_code, reason = "it is given back when the page goes")]
    place: OwnedSemaphorePermit,
    /// Absent where a request came over no connection, in tests.
    ending: Option<Ending>,
    /// `None` until it is greeted.
    ticks: Option<Receiver<Bytes>>,
}

impl Listener {
    /// The next piece; `None` when the service ends.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(ticks) = &mut self.ticks else {
            return self.greeting().map(|greeting| [PRELUDE.as_bytes(), &greeting].concat().into());
        };
        let tick = match &self.ending {
            None => ticks.recv().await,
            Some(Ending(ending)) => tokio::select! {
                tick = ticks.recv() => tick,
                () = ending.cancelled() => return None,
            },
        };
        match tick {
            Ok(tick) => Some(tick),
            Err(RecvError::Lagged(_)) => self.greeting(),
            Err(RecvError::Closed) => None,
        }
    }

    fn greeting(&mut self) -> Option<Bytes> {
        let (greeting, ticks) = self.app.0.hub.greet(&self.app, self.access);
        self.ticks = Some(ticks);
        greeting
    }
}
