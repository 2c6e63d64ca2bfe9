-- Events that may have killed an owner of their partition, counted for each event.
CREATE TABLE suspects (
    position      INTEGER NOT NULL REFERENCES positions (id),
    record_offset INTEGER NOT NULL,
    running       INTEGER NOT NULL,
    alone         INTEGER NOT NULL,
    runs_alone    INTEGER NOT NULL,
    PRIMARY KEY (position, record_offset)
) STRICT, WITHOUT ROWID;
INSERT INTO suspects SELECT id, suspect, 0, suspected, FALSE FROM positions WHERE suspect IS NOT NULL;

ALTER TABLE positions DROP COLUMN suspect;
ALTER TABLE positions DROP COLUMN suspected;
ALTER TABLE positions ADD COLUMN assignment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE positions ADD COLUMN owned INTEGER NOT NULL DEFAULT 0;
