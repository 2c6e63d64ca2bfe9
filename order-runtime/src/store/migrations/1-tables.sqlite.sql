-- `positions` gives each partition a small number, which keeps the rows that refer to it narrow.
CREATE TABLE store (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    uuid           TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    pings          INTEGER NOT NULL
) STRICT;

CREATE TABLE positions (
    id          INTEGER PRIMARY KEY,
    cluster     TEXT NOT NULL,
    topic_id    TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    starts      INTEGER NOT NULL,
    UNIQUE (cluster, topic_id, topic, partition)
) STRICT;

CREATE TABLE rings (
    key     BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    bytes   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Times are nanoseconds since the epoch, but for the timestamp, which is the record's own in milliseconds.
CREATE TABLE waiting (
    position        INTEGER NOT NULL REFERENCES positions (id),
    record_offset   INTEGER NOT NULL,
    lane            BLOB NOT NULL,
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    since           INTEGER NOT NULL,
    first_failed_at INTEGER,
    due             INTEGER NOT NULL,
    error_code      TEXT NOT NULL,
    error_message   TEXT NOT NULL,
    key             BLOB,
    payload         BLOB,
    headers         BLOB NOT NULL,
    timestamp       INTEGER,
    PRIMARY KEY (position, record_offset)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used again, so that a reader's place stays right when the table runs empty.
CREATE TABLE outbox (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    position      INTEGER NOT NULL REFERENCES positions (id),
    source_offset INTEGER NOT NULL,
    topic         TEXT NOT NULL,
    partition     INTEGER,
    key           BLOB,
    payload       BLOB,
    headers       BLOB NOT NULL,
    timestamp     INTEGER
) STRICT;

CREATE TABLE dead_letters (
    dlq_id   TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    hash     BLOB NOT NULL,
    replays  INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    code     TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
