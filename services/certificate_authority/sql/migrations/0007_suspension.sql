-- `version` is that of the certificate's state: every order that is followed makes one more, and an order to lift names
-- the one that it ends. `suspended_at`: since when it may not be used. A revocation leaves it: the CRL keeps the date.
ALTER TABLE certificate ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version > 0);
ALTER TABLE certificate ADD COLUMN suspended_at timestamptz;
ALTER TABLE certificate ADD CHECK (profile = 'officer' OR (suspended_at IS NULL AND version = 1));
UPDATE certificate SET version = 2 WHERE profile = 'officer' AND ended_at IS NOT NULL;

-- What changed is added up every 20 s, out of the index alone; what a CRL lists is found by it.
DROP INDEX certificate_revoked;
CREATE INDEX certificate_changed ON certificate (version) WHERE profile = 'officer' AND version > 1;

-- Of how many changes a CRL knows: what is suspended as something else is lifted leaves it with as many entries.
ALTER TABLE crl ADD COLUMN changes bigint NOT NULL DEFAULT 0;
UPDATE crl SET changes = entries;

-- Orders to suspend that were followed: none is followed again once it was lifted.
CREATE TABLE suspension (
    suspension uuid PRIMARY KEY,
    credential_id text NOT NULL,
    registrar_key text NOT NULL,
    followed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE suspension IS 'append-only: an order is followed once';
