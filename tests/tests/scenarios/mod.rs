//! Scenarios for the guarantees of the service. They run on both the embedded broker and a real Kafka.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the message")]

pub(crate) mod commands;
pub(crate) mod crashes;
pub(crate) mod delivery;
pub(crate) mod http;
pub(crate) mod traces;
pub(crate) mod upgrade;
pub(crate) mod waiting;

/// Declares a test for each scenario that runs on every store. `$broker` is an async function that returns a broker, or `None` to
/// skip.
macro_rules! every_scenario {
    ($broker:path) => {
        scenarios::tests!($broker:
            delivery::a_sample_is_processed,
            delivery::bad_events_become_dead_letters,
            delivery::duplicates_count_once,
            delivery::a_forbidden_step_is_rejected,
            waiting::an_event_waits_for_its_order,
            waiting::an_order_that_never_comes_exhausts_its_events,
            waiting::waiting_keys_are_listed_and_released,
            crashes::a_clean_stop_loses_nothing,
            crashes::kills_under_load_lose_nothing,
            upgrade::an_earlier_store_goes_on,
            http::posted_events_are_processed,
            http::invalid_events_are_refused_with_every_path,
            http::unknown_orders_are_not_found,
            commands::check_names_what_is_wrong,
            commands::wrong_settings_are_all_named,
            commands::config_keeps_secrets,
            commands::processors_are_listed_offline,
            commands::the_entities_keep_what_was_released,
            commands::dead_letters_are_listed_shown_and_replayed,
        );
    };
}

macro_rules! tests {
    ($broker:path: $($module:ident::$scenario:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $scenario() {
            if let Some(broker) = $broker().await {
                scenarios::$module::$scenario(&broker).await;
            }
        }
    )+};
}

pub(crate) use {every_scenario, tests};
