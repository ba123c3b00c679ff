-- The policies of settings that this service was once under; version 0, without a digest, stands for the time when
-- there were two security officers and no policy yet: from then on there has to be one.
CREATE TABLE settings_policy (
    version bigint PRIMARY KEY,
    sha256 bytea NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settings_policy IS 'append-only: no policy that is older than one of these comes back';
