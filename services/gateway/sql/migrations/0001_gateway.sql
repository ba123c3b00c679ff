-- One row per request, whatever of it arrived first: who owns it, how far its timeline and its documents are.
-- `header` is JSON; `vouched` says that a service of ours has checked it, and not only the caller's signature.
CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    header text,
    vouched boolean NOT NULL,
    medium text,
    seq bigint NOT NULL,
    signed integer NOT NULL,
    verified integer NOT NULL,
    posted integer NOT NULL
) WITH (fillfactor = 70);

-- What happened to a request, in the order in which we got to know it; `seq` is given under the request's row lock.
-- A slice of documents is one row: `data` names them, `reached` counts the documents of the request at that stage.
CREATE TABLE timeline (
    request_id uuid NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    data text NOT NULL,
    reached integer,
    PRIMARY KEY (request_id, seq)
);
-- A status reads everything but the documents' progress, of which there may be a thousand rows.
CREATE INDEX timeline_told ON timeline (request_id, seq) WHERE kind NOT IN ('signed', 'verified', 'posted');

-- What an authorisation needs beside what the officer typed.
CREATE TABLE manifest (
    request_id uuid PRIMARY KEY,
    signed bytea NOT NULL
);
-- 2.5 MB at most: read rarely, so not worth the compression.
ALTER TABLE manifest ALTER COLUMN signed SET STORAGE EXTERNAL;
CREATE TABLE challenge (
    request_id uuid NOT NULL,
    number integer NOT NULL,
    sealing_key_id text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (request_id, number)
);

-- What was promised under an idempotency key. The event itself waits in `outcome` until the broker has it.
CREATE TABLE submission (
    caller text NOT NULL,
    idempotency_key text NOT NULL,
    body_hash bytea NOT NULL,
    attempt text NOT NULL,
    event_id uuid NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, idempotency_key)
);

-- JWTs that were used, until they expire.
CREATE TABLE used_jwt (
    caller text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, jti)
);
CREATE INDEX used_jwt_expires_at ON used_jwt (expires_at);
