//! `GET /page/live`: the page's updates, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! The first event is `hello` with the whole state; a `tick` with the changes follows every second. A page that reads too slowly
//! misses ticks, and gets `hello` again.

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

/// Sets the browser's delay before it reconnects, in milliseconds.
const PRELUDE: &str = "retry: 2000\n\n";

/// `GET /page/live`.
pub(in crate::http) async fn live(
    State(app): State<App>,
    role: Option<Extension<Role>>,
    ending: Option<Extension<Ending>>,
) -> Result<Response, Problem> {
    let place = app.0.hub.place(role.is_some()).ok_or_else(|| {
        let detail = format!("{PAGES} pages are open, which is the maximum; close one");
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
    #[expect(dead_code, reason = "it is returned when the page is dropped")]
    place: OwnedSemaphorePermit,
    /// `None` for requests without a connection, in tests.
    ending: Option<Ending>,
    /// `None` until the greeting was sent.
    ticks: Option<Receiver<Bytes>>,
}

impl Listener {
    /// The next event; `None` when the service stops.
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
