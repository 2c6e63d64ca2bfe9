//! The HTTP interface: the read model, operations, the ingest of events, and the operator's page.
//!
//! | module | the question it answers |
//! |---|---|
//! | `accept` | which connections are accepted, and with which time limits? |
//! | `places` | how many connections are open, in total and per address? |
//! | `host` | which host does a request name? |
//! | `admin` | which requests may read or change what? |
//! | `body` | how much of a body is read, and when? |
//! | `input` | how are parameters and bodies read as an operation's request? |
//! | `layers` | which checks does a request pass, in which order? |
//! | `problem` | what does an error look like? |
//! | `page` | what does the operator's page show? |
//! | `routes` | which routes are there, and how does each answer? |
//! | `operator` | which operator acts, and how is it recorded? |
//! | `readers` | how many large answers are made at the same time? |
//! | `jobs` | how does work on dead letters continue after the answer? |

mod accept;
mod admin;
mod body;
mod host;
mod input;
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
    model::{LogThrottle, TopicPattern},
    registry::Registry,
    store::Store,
};

/// A log line that any client can cause is written once in this time.
const LOG_PERIOD: Duration = Duration::from_mins(1);
/// Limits what one answer reads of the dead-letter topic. Its time is well below the time limit of an answer.
const LETTERS: Budget = Budget { time: Duration::from_secs(8), records: 250_000 };

/// The parts of the service that the HTTP interface uses.
pub(crate) struct HttpParts {
    pub(crate) config: Config,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) publisher: Arc<dyn Publisher>,
    /// The dead-letter topic.
    pub(crate) letters: Arc<dyn Source>,
    /// The sources of metrics.
    pub(crate) sources: Sources,
    /// Whether the broker is the embedded one; the page shows it.
    pub(crate) embedded_broker: bool,
}

/// The shared state of all routes.
#[derive(Clone)]
struct App(Arc<AppState>);

struct AppState {
    parts: HttpParts,
    /// `None` if `KAFKA_TOPIC` has only patterns, so that there is no topic to publish to.
    ingest: Option<Ingest>,
    hub: page::Hub,
    dead_letters: DeadLetterService,
    jobs: Arc<Jobs>,
    bodies: body::BodyMemory,
    guesses: admin::Guesses,
    behind_proxy: LogThrottle,
    readers: readers::Readers,
    ingested: operator::Ingested,
}

impl App {
    /// The operations on dead letters.
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

/// All routes with all layers. Must be called on the runtime that serves them: it starts the page's one-second task there.
pub(crate) fn router(parts: HttpParts) -> Router {
    let topic = TopicPattern::first_name(&parts.config.kafka.topics);
    let ingest = topic.map(|topic| Ingest::new(Arc::clone(&parts.registry), &parts.dispatcher, topic));
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
        behind_proxy: LogThrottle::new(LOG_PERIOD),
        readers: readers::Readers::default(),
        ingested: operator::Ingested::default(),
    }));
    tokio::spawn(page::Hub::watch(Arc::downgrade(&app.0)));
    layers::around(routes::all(&app), &app)
}
