-- An officer's GPKI Mobile as `gpki.user.v1` says it (JSON), and the registrations that were accepted; `content` is the
-- canonical JSON that the registrar signed.
ALTER TABLE officer ADD COLUMN device text;
CREATE TABLE device_registration (
    registration uuid PRIMARY KEY,
    user_id text NOT NULL REFERENCES officer,
    content bytea NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now()
);
