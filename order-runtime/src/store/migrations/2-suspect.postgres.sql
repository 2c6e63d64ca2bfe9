-- Events that may have killed the process, and the time at which a deduplication window was last written.
ALTER TABLE positions ADD COLUMN suspect bigint;
ALTER TABLE positions ADD COLUMN suspected bigint NOT NULL DEFAULT 0;
ALTER TABLE rings ADD COLUMN written timestamptz NOT NULL DEFAULT now();
