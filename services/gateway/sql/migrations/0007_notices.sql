-- What GPKI Mobile is told of changes, sealed to the device: `device` (JSON) is by whose key it is given out, also after the
-- device was replaced.
CREATE TABLE notice (
    notice_id uuid PRIMARY KEY,
    device_id text NOT NULL,
    user_id text NOT NULL,
    device text NOT NULL,
    told_at timestamptz NOT NULL,
    message bytea NOT NULL
);
CREATE INDEX notice_device ON notice (device_id, user_id, told_at);
CREATE INDEX notice_told_at ON notice (told_at);
