-- Events that may have killed an owner of their partition, counted for each event. The columns that held a single such
-- event stay, because instances of the previous release may still write them.
CREATE TABLE suspects (
    position      bigint NOT NULL REFERENCES positions (id),
    record_offset bigint NOT NULL,
    running       bigint NOT NULL,
    alone         bigint NOT NULL,
    runs_alone    boolean NOT NULL,
    PRIMARY KEY (position, record_offset)
);
INSERT INTO suspects SELECT id, suspect, 0, suspected, FALSE FROM positions WHERE suspect IS NOT NULL;

ALTER TABLE positions ADD COLUMN assignment bigint NOT NULL DEFAULT 0;
ALTER TABLE positions ADD COLUMN owned boolean NOT NULL DEFAULT false;
