-- Texts from outside are stored as `bytea`. PostgreSQL's `text` does not accept a NUL, and an event that contains one must
-- neither be lost nor stop its partition.

CREATE TABLE store (
    only_row       boolean PRIMARY KEY CHECK (only_row),
    uuid           uuid NOT NULL,
    consumer_group text NOT NULL,
    pings          bigint NOT NULL
);

CREATE TABLE positions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster     text NOT NULL,
    topic_id    uuid NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    revision    bigint NOT NULL,
    starts      bigint NOT NULL,
    UNIQUE (cluster, topic_id, topic, partition)
);

CREATE TABLE rings (
    key     bytea PRIMARY KEY,
    version bigint NOT NULL,
    bytes   bytea NOT NULL
);
-- A ring is short hashes and names; packing it would cost more than it saves.
ALTER TABLE rings ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Times are nanoseconds since the epoch, but for the timestamp, which is the record's own in milliseconds.
CREATE TABLE waiting (
    position        bigint NOT NULL REFERENCES positions (id),
    record_offset   bigint NOT NULL,
    lane            bytea NOT NULL,
    state           text NOT NULL,
    attempts        bigint NOT NULL,
    since           bigint NOT NULL,
    first_failed_at bigint,
    due             bigint NOT NULL,
    error_code      bytea NOT NULL,
    error_message   bytea NOT NULL,
    key             bytea,
    payload         bytea,
    headers         bytea NOT NULL,
    timestamp       bigint,
    PRIMARY KEY (position, record_offset)
);

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position      bigint NOT NULL REFERENCES positions (id),
    source_offset bigint NOT NULL,
    topic         text NOT NULL,
    partition     integer,
    key           bytea,
    payload       bytea,
    headers       bytea NOT NULL,
    timestamp     bigint
);

CREATE TABLE dead_letters (
    dlq_id   bytea PRIMARY KEY,
    event_id bytea NOT NULL,
    hash     bytea NOT NULL,
    replays  bigint NOT NULL,
    reason   text NOT NULL,
    code     bytea NOT NULL,
    at       bigint NOT NULL
);
