-- One row per code of a request, fixed before the first mail. `closed_code` is AES-256-GCM under the service's own key,
-- and gone once the code was recorded as delivered or given up.
CREATE TABLE code (
    request_id uuid NOT NULL,
    number smallint NOT NULL,
    reference_code text NOT NULL,
    message_id text NOT NULL,
    sealing_key bytea NOT NULL,
    closed_code bytea,
    reserved_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    expires_at timestamptz,
    PRIMARY KEY (request_id, number)
);
