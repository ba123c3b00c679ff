-- The HSM's keys that users' keys are under. A row goes before its key does, and the database lets none go that is in use.
CREATE TABLE custody_key (
    label text PRIMARY KEY,
    known_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO custody_key (label) VALUES ('user-wrapping-1'), ('pin-pepper-1');

-- Those that are gone for good: no process that still names one begins with it again.
CREATE TABLE destroyed_key (
    label text PRIMARY KEY,
    destroyed_at timestamptz NOT NULL DEFAULT now()
);

-- A credential that was destroyed is under none.
ALTER TABLE credential ADD COLUMN wrapping_key text REFERENCES custody_key;
ALTER TABLE credential ADD COLUMN pepper text REFERENCES custody_key;
UPDATE credential SET wrapping_key = 'user-wrapping-1', pepper = 'pin-pepper-1' WHERE wrapped IS NOT NULL;
ALTER TABLE credential ADD CHECK (wrapped IS NULL OR (wrapping_key IS NOT NULL AND pepper IS NOT NULL));
CREATE INDEX credential_wrapping_key ON credential (wrapping_key);
CREATE INDEX credential_pepper ON credential (pepper);
