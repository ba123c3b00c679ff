-- Copies of the state topics: full state by key, the highest version wins.
CREATE TABLE user_state (
    user_id text PRIMARY KEY,
    version bigint NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE certificate_state (
    credential_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE key_state (
    key_id text PRIMARY KEY,
    purpose text NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL
);
CREATE INDEX key_state_purpose ON key_state (purpose);
