-- Operators' actions on dead letters.
CREATE TABLE letter_marks (
    dlq_id  TEXT NOT NULL,
    replays INTEGER NOT NULL,
    state   TEXT NOT NULL,
    note    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (dlq_id, replays)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id        TEXT PRIMARY KEY,
    at        INTEGER NOT NULL,
    actor     TEXT NOT NULL,
    action    TEXT NOT NULL,
    letters   INTEGER NOT NULL,
    selection TEXT NOT NULL
) STRICT, WITHOUT ROWID;
