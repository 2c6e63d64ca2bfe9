//! HTTP: the read model, operations, and events that come in.
//!
//! | module | the question it answers |
//! |---|---|
//! | `accept` | who may connect, and for how long? |
//! | `places` | how many connections are there for whom? |
//! | `host` | whom does a request believe to speak to? |
//! | `admin` | who may see or change what? |
//! | `body` | how much of a body is read, and when? |
//! | `layers` | in which order is a request looked at? |
//! | `problem` | what does an error look like? |
//! | `page` | what does an operator's browser show? |
//! | `routes` | what is answered? |
//! | `operator` | who acts, and where is it recorded? |
//! | `readers` | how many answers that may be large are made at the same time? |
//! | `throttle` | how often is a log line repeated? |
//! | `jobs` | how far is work on dead letters that goes on after the answer? |

mod accept;
mod admin;
mod body;
mod host;
mod jobs;
mod layers;
mod operator;
mod page;
mod places;
mod problem;
mod readers;
mod routes;
#[cfg(test)]
mod tests;
mod throttle;

use std::{sync::Arc, time::Duration};

use axum::Router;

use self::jobs::Jobs;
pub(crate) use self::{accept::serve, operator::OPERATOR, routes::described as routes};
use crate::{
    broker::Publisher,
    config::Config,
    dead_letters::{Budget, DeadLetterService, Source},
    dispatcher::Dispatcher,
    engine::observe::Operations,
    exposition::Sources,
    ingest::Ingest,
    registry::Registry,
    store::Store,
};

/// What is read of the dead-letter topic for one answer: well within the time that an answer has.
const LETTERS: Budget = Budget { time: Duration::from_secs(8), records: 250_000 };

/// What HTTP is made of.
pub(crate) struct HttpParts {
    pub(crate) config: Config,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) publisher: Arc<dyn Publisher>,
    /// The dead letters.
    pub(crate) letters: Arc<dyn Source>,
    /// Where metrics are read from.
    pub(crate) sources: Sources,
    /// The broker is the embedded one, which the page says.
    pub(crate) embedded_broker: bool,
}

/// What every route sees.
#[derive(Clone)]
struct App(Arc<AppState>);

struct AppState {
    parts: HttpParts,
    /// `None` where `KAFKA_TOPIC` has patterns only, so that nobody knows where events go.
    ingest: Option<Ingest>,
    hub: page::Hub,
    dead_letters: DeadLetterService,
    jobs: Arc<Jobs>,
    bodies: body::BodyMemory,
    guesses: admin::Guesses,
    behind_proxy: throttle::LogThrottle,
    readers: readers::Readers,
    ingested: operator::Ingested,
}

impl App {
    /// Where dead letters are dealt with.
    fn dead_letters(&self) -> &DeadLetterService {
        &self.0.dead_letters
    }

    fn jobs(&self) -> &Arc<Jobs> {
        &self.0.jobs
    }
}

impl std::ops::Deref for App {
    type Target = HttpParts;

    fn deref(&self) -> &HttpParts {
        &self.0.parts
    }
}

/// All routes behind all layers. Called on the runtime that serves them, where the page's clock then ticks.
pub(crate) fn router(parts: HttpParts) -> Router {
    let mut names = parts.config.kafka.topics.iter().filter(|topic| !topic.starts_with('^'));
    let ingest = names.next().map(|topic| Ingest::new(Arc::clone(&parts.registry), &parts.dispatcher, topic));
    let dead_letters = DeadLetterService {
        source: Arc::clone(&parts.letters),
        store: Some(Arc::clone(&parts.store)),
        registry: Arc::clone(&parts.registry),
        topics: parts.config.kafka.topics.clone(),
        budget: Some(LETTERS),
    };
    let app = App(Arc::new(AppState {
        parts,
        ingest,
        dead_letters,
        jobs: Arc::default(),
        hub: page::Hub::default(),
        bodies: body::BodyMemory::default(),
        guesses: admin::Guesses::default(),
        behind_proxy: throttle::LogThrottle::default(),
        readers: readers::Readers::default(),
        ingested: operator::Ingested::default(),
    }));
    tokio::spawn(page::Hub::watch(Arc::downgrade(&app.0)));
    layers::around(routes::all(&app), &app)
}
