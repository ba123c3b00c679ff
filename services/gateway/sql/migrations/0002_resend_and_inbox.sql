-- What a resend carries of `medium-resolved` beside the manifest; null in rows that are older than this file.
ALTER TABLE manifest
ADD COLUMN requested_at timestamptz,
ADD COLUMN credential_id uuid,
ADD COLUMN channels text[];

-- GPKI Mobile's inbox: messages that only their device can open, until their code expires.
CREATE TABLE message (
    request_id uuid NOT NULL,
    number integer NOT NULL,
    device_id text NOT NULL,
    user_id text NOT NULL,
    reference_code text NOT NULL,
    delivered_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    message bytea NOT NULL,
    PRIMARY KEY (request_id, number)
);
CREATE INDEX message_device ON message (device_id, user_id, delivered_at);
CREATE INDEX message_expires_at ON message (expires_at);
