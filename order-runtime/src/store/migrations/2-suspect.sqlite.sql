-- Events that may have killed the process, and the time at which a deduplication window was last written, in seconds since
-- the epoch.
ALTER TABLE positions ADD COLUMN suspect INTEGER;
ALTER TABLE positions ADD COLUMN suspected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rings ADD COLUMN written INTEGER NOT NULL DEFAULT 0;
UPDATE rings SET written = unixepoch();
