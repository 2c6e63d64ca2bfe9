//! The routes.

mod consumer;
mod dlq;
mod documents;
mod entities;
mod events;
mod health;
mod metrics;
mod route;
mod stats;
mod waiting;

use axum::{Router, routing};

use self::route::Route;
use super::{App, layers, page};
use crate::{
    dead_letters::ListRequest,
    dispatcher::Dispatcher,
    documents::{Audience, RouteDescription},
    store::EntityType,
};

/// All routes, without layers.
pub(super) fn all(app: &App) -> Router {
    let mut routes = Router::new();
    for audience in [Audience::Open, Audience::Viewers, Audience::Administrators] {
        let of_audience = table(&app.dispatcher).into_iter().filter(|route| route.description.audience == audience);
        let of_audience = of_audience.fold(Router::new(), |router, route| route.onto(router));
        routes = routes.merge(layers::within(of_audience, app, audience));
    }
    // Used by the page only, so no document lists them.
    routes.route("/page/assets/{version}/{*name}", routing::get(page::asset)).with_state(app.clone())
}

/// All public routes, each with its handler and its description for the OpenAPI document.
fn table(dispatcher: &Dispatcher) -> Vec<Route> {
    let mut routes = operation();
    let mut reads = activity();
    reads.extend(dispatcher.entities.iter().flat_map(|entity| read_model(*entity)));
    routes.extend(reads.into_iter().map(|route| route.of(Audience::Viewers)));
    let administration = administration().into_iter().chain(dead_letters());
    routes.extend(administration.map(|route| route.of(Audience::Administrators)));
    routes
}

/// The descriptions of the routes for documents.
pub(crate) fn described(dispatcher: &Dispatcher) -> Vec<RouteDescription> {
    table(dispatcher).into_iter().map(|route| route.description).collect()
}

/// Routes about the service itself.
fn operation() -> Vec<Route> {
    let unfit: &[_] = &[("503", "It is not; the body has the reasons.")];
    vec![
        Route::get("/", "The operator's page.", page::index),
        Route::get("/health", "Whether the service is live and ready.", health::all).answers(unfit),
        Route::get("/health/live", "Whether the service is live.", health::live).answers(unfit),
        Route::get("/health/ready", "Whether the service is ready.", health::ready).answers(unfit),
        Route::get("/metrics", "Metrics for Prometheus, in its text format or in OpenMetrics.", metrics::prometheus),
        Route::get("/openapi.json", "This document.", documents::openapi),
        Route::get("/asyncapi.json", "The topics and their messages.", documents::asyncapi),
        Route::get("/docs", "Routes and events, for people.", documents::page),
    ]
}

/// Routes that show the service's activity.
fn activity() -> Vec<Route> {
    vec![
        Route::get("/page/live", "The page's server-sent events, one per second.", page::live)
            .answers(&[("503", "The maximum number of pages is open.")]),
        Route::get("/stats", "Counters since the start.", stats::stats),
        Route::get("/processors", "The declared processors and their counters.", stats::processors),
        Route::get("/partitions", "The assigned partitions with their states and reasons.", stats::partitions),
    ]
}

/// Routes that change something or show keys.
fn administration() -> Vec<Route> {
    vec![
        Route::post("/events", "Checks and publishes one event or an array of at most 1,000.", events::publish)
            .query::<events::Keyed>()
            .answers(&[
                ("202", "All are published; the body has their ids."),
                ("422", "With `errors`, nothing is published; they have the violations by JSON path: every broken rule, or the first member of an event that cannot be decoded. Without them, the topic refuses an event, and other events of the request may be published."),
            ]),
        Route::post("/consumer/pause", "Stops taking records.", consumer::pause),
        Route::post("/consumer/resume", "Takes records again; a stopped partition is retried.", consumer::resume),
        Route::get("/waiting", "Waiting keys: reason and next attempt.", waiting::list).query::<waiting::Limited>(),
        Route::post("/waiting/retry", "Retries waiting keys now.", waiting::retry),
        Route::post(
            "/waiting/dead-letter",
            "Dead-letters the first event of waiting keys, or all waiting events of a topic that no instance reads.",
            waiting::dead_letter,
        )
        .answers(&[("409", "The topic has no orphaned partition with waiting events, or another instance reads it.")]),
    ]
}

fn dead_letters() -> Vec<Route> {
    let one: &[_] = &[("404", "There is none with this id.")];
    let begun: &[_] = &[
        ("202", "The job has started; `location` has its address. With `dryRun` it only counts."),
        ("400", "The body selects nothing, or has an unknown member."),
        ("409", "Another job of its kind is running."),
    ];
    let no_job: &[_] = &[("404", "This instance has none with this id.")];
    vec![
        Route::get("/dlq", "Dead letters, and their counts by kind.", dlq::list).query::<ListRequest>(),
        Route::get("/dlq/{id}", "One dead letter, and how this build would handle it.", dlq::show)
            .query::<dlq::LetterPlace>()
            .answers(one),
        Route::get("/dlq/audit", "The actions of operators, latest first.", dlq::audit),
        Route::get("/dlq/replay", "The last replay of this instance and its progress.", dlq::replay_state)
            .answers(&[("404", "No replay was started yet.")]),
        Route::post("/dlq/replay", "Sends dead letters back to the topics that they came from.", dlq::replay)
            .answers(begun),
        Route::delete("/dlq/replay", "Stops the replay after its current batch.", dlq::stop_replay)
            .answers(&[("404", "No replay was started yet.")]),
        Route::post("/dlq/{id}/edit", "Checks a corrected event and sends it as a replay.", dlq::edit)
            .query::<dlq::LetterPlace>()
            .answers(&[
                ("404", "There is none with this id."),
                ("409", "It was already replayed or purged, or has failed again since."),
                ("422", "It is still invalid; the body has the violations by JSON path."),
            ]),
        Route::post("/dlq/park", "Sets dead letters aside.", dlq::park).answers(begun),
        Route::post("/dlq/unpark", "Unparks dead letters.", dlq::unpark).answers(begun),
        Route::post("/dlq/purge", "Leaves dead letters out for good.", dlq::purge).answers(begun),
        Route::get("/dlq/jobs", "The jobs of this instance on dead letters, latest first.", dlq::all_jobs),
        Route::get("/dlq/jobs/{id}", "One job and its progress.", dlq::job).answers(no_job),
        Route::delete("/dlq/jobs/{id}", "Stops a job after its current letters.", dlq::stop_job).answers(no_job),
    ]
}

/// Routes of an entity.
fn read_model(entity: EntityType) -> [Route; 3] {
    let table = entity.table;
    let unknown: &[_] = &[("404", "There is none with this id.")];
    let page = move |app, uri, query| entities::page(entity, app, uri, query);
    let one = move |app, id| entities::one(entity, app, id);
    let history = move |app, id| entities::history(entity, app, id);
    [
        Route::get(&format!("/{table}"), "A page of entities in their current state, by id.", page)
            .parameters(entities::parameters(entity.filters)),
        Route::get(&format!("/{table}/{{id}}"), "One entity in its current state.", one).answers(unknown),
        Route::get(&format!("/{table}/{{id}}/events"), "Its last events with their outcomes.", history)
            .answers(unknown),
    ]
}
