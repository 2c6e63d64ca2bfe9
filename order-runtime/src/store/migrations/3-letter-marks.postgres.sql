-- Operators' actions on dead letters.
CREATE TABLE letter_marks (
    dlq_id  bytea NOT NULL,
    replays bigint NOT NULL,
    state   text NOT NULL,
    note    bytea NOT NULL,
    actor   bytea NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (dlq_id, replays)
);

CREATE TABLE audit (
    id        uuid PRIMARY KEY,
    at        bigint NOT NULL,
    actor     bytea NOT NULL,
    action    text NOT NULL,
    letters   bigint NOT NULL,
    selection bytea NOT NULL
);
