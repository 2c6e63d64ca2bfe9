//! The graphs of the dashboard, as a table.

/// One graph.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// Grafana's name of the unit.
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
    /// Expressions with their legends; `NAME` is replaced with the domain's name.
    pub(super) targets: &'static [(&'static str, &'static str)],
}

const fn graph(
    title: &'static str,
    unit: &'static str,
    about: &'static str,
    targets: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, unit, about, targets }
}

/// Rows of graphs, with their titles.
#[rustfmt::skip]
pub(super) const ROWS: [(&str, &[Panel]); 4] = [
    ("Now", &[
        graph("Events by outcome", "ops", "Events per second by outcome.", &[
            (r#"sum by (outcome) (rate(NAME_events_total{instance=~"$instance",event=~"$event"}[$__rate_interval]))"#, "{{outcome}}"),
        ]),
        graph("Lag", "short", "Records between the positions and the ends of the partitions.", &[
            (r#"sum by (topic, partition) (NAME_consumer_lag{instance=~"$instance"})"#, "{{topic}}/{{partition}}"),
        ]),
        graph("Age when committed", "s", "From the record's timestamp to the commit of its effects.", &[
            (r#"histogram_quantile(0.5, sum by (le) (rate(NAME_event_age_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#, "median"),
            (r#"histogram_quantile(0.99, sum by (le) (rate(NAME_event_age_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#, "99 %"),
        ]),
        graph("Ready and live", "short", "1 while the health routes answer 200.", &[
            (r#"NAME_ready{instance=~"$instance"}"#, "ready {{instance}}"),
            (r#"NAME_live{instance=~"$instance"}"#, "live {{instance}}"),
        ]),
        graph("Partitions", "short", "Assigned partitions by state.", &[
            (r#"sum by (state) (NAME_partitions{instance=~"$instance"})"#, "{{state}}"),
        ]),
        graph("Records taken", "ops", "Records taken from Kafka per second.", &[
            (r#"sum by (messaging_destination_name) (rate(messaging_client_consumed_messages_total{instance=~"$instance"}[$__rate_interval]))"#, "{{messaging_destination_name}}"),
        ]),
    ]),
    ("Failures", &[
        graph("Dead letters", "short", "Dead letters within five minutes by reason.", &[
            (r#"sum by (reason) (increase(NAME_dead_letters_total{instance=~"$instance"}[5m]))"#, "{{reason}}"),
        ]),
        graph("Dead letters by event", "short", "Dead letters within five minutes by event.", &[
            (r#"sum by (event) (increase(NAME_events_total{instance=~"$instance",outcome="dead_lettered"}[5m]))"#, "{{event}}"),
        ]),
        graph("Retries", "ops", "Attempts after a first one, per second.", &[
            (r#"sum by (event) (rate(NAME_events_total{instance=~"$instance",event=~"$event",outcome="retried"}[$__rate_interval]))"#, "{{event}}"),
        ]),
        graph("Waiting keys and events", "short", "Keys and events that wait for another attempt or an operator.", &[
            (r#"sum by (topic) (NAME_waiting_keys{instance=~"$instance"})"#, "keys {{topic}}"),
            (r#"sum by (topic) (NAME_waiting_events{instance=~"$instance"})"#, "events {{topic}}"),
        ]),
        graph("Longest wait of a key", "s", "Waiting time of the key that has waited longest; low if keys wait only for seconds.", &[
            (r#"max by (topic) (NAME_waiting_oldest_seconds{instance=~"$instance"})"#, "{{topic}}"),
        ]),
        graph("Circuit breakers", "short", "1 while a circuit breaker of the event's processor is open.", &[
            (r#"max by (event) (NAME_breaker_open{instance=~"$instance",event=~"$event"})"#, "{{event}}"),
        ]),
        graph("Dropped offsets and rebalances", "short", "Lost records, and partitions assigned, revoked or lost, within five minutes.", &[
            (r#"sum(increase(NAME_dropped_offsets_total{instance=~"$instance"}[5m]))"#, "dropped"),
            (r#"sum by (kind) (increase(NAME_rebalances_total{instance=~"$instance"}[5m]))"#, "{{kind}}"),
        ]),
    ]),
    ("Durations and throughput", &[
        graph("Attempts, 99 %", "s", "Duration of one attempt; attempts that do not wait share the time of their batch.", &[
            (r#"histogram_quantile(0.99, sum by (le, event) (rate(messaging_process_duration_seconds_bucket{instance=~"$instance",event=~"$event"}[$__rate_interval])))"#, "{{event}}"),
        ]),
        graph("Commits", "s", "Duration of one transaction of the store.", &[
            (r#"histogram_quantile(0.5, sum by (le) (rate(NAME_store_commit_duration_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#, "median"),
            (r#"histogram_quantile(0.99, sum by (le) (rate(NAME_store_commit_duration_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#, "99 %"),
        ]),
        graph("Records in a transaction", "short", "The number of records in one transaction.", &[
            (r#"histogram_quantile(0.5, sum by (le) (rate(NAME_store_commit_events_bucket{instance=~"$instance"}[$__rate_interval])))"#, "median"),
        ]),
        graph("Failed transactions", "ops", "Transactions per second that the store did not answer, or answered with an error.", &[
            (r#"sum by (instance) (rate(NAME_store_commit_failures_total{instance=~"$instance"}[$__rate_interval]))"#, "{{instance}}"),
        ]),
        graph("Sending, 99 %", "s", "Time until the broker has answered.", &[
            (r#"histogram_quantile(0.99, sum by (le, messaging_destination_name) (rate(messaging_client_operation_duration_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#, "{{messaging_destination_name}}"),
        ]),
        graph("Records sent", "ops", "Dead letters, emitted events and events received over HTTP, per second.", &[
            (r#"sum by (messaging_destination_name, error_type) (rate(messaging_client_sent_messages_total{instance=~"$instance"}[$__rate_interval]))"#, "{{messaging_destination_name}} {{error_type}}"),
        ]),
        graph("Outbox, records", "short", "Records that are not published yet.", &[
            (r#"sum by (instance) (NAME_outbox_records{instance=~"$instance"})"#, "{{instance}}"),
        ]),
        graph("Outbox, size", "bytes", "Total size of the records that are not published yet.", &[
            (r#"sum by (instance) (NAME_outbox_bytes{instance=~"$instance"})"#, "{{instance}}"),
        ]),
    ]),
    ("The process", &[
        graph("CPU", "percentunit", "Cores in use.", &[
            (r#"sum by (instance) (rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval]))"#, "{{instance}}"),
        ]),
        graph("Memory", "bytes", "Resident memory.", &[
            (r#"process_resident_memory_bytes{instance=~"$instance"}"#, "{{instance}}"),
        ]),
        graph("Files and threads", "short", "Open file descriptors, and threads.", &[
            (r#"process_open_fds{instance=~"$instance"}"#, "files {{instance}}"),
            (r#"process_threads{instance=~"$instance"}"#, "threads {{instance}}"),
        ]),
    ]),
];
