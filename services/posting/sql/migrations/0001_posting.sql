-- A posted document: its record in canonical form, and what is asked about it. `place` is its index in the manifest.
CREATE TABLE record (
    record_id uuid PRIMARY KEY,
    request_id uuid NOT NULL,
    place integer NOT NULL,
    system text NOT NULL,
    document_id text NOT NULL,
    action text NOT NULL,
    user_id text NOT NULL,
    sha256 text NOT NULL,
    amount text NOT NULL,
    currency text NOT NULL,
    value bytea NOT NULL,
    posted_at timestamptz NOT NULL,
    UNIQUE (system, document_id, action)
);
CREATE INDEX record_request ON record (request_id, place);
-- A record stays in its row: neither compressed nor moved to the side table.
ALTER TABLE record ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE record SET (toast_tuple_target = 8160);

-- The signing log (RFC 6962): the leaf over each record, positions from 0 without a gap.
CREATE TABLE signing_log (
    position bigint PRIMARY KEY,
    leaf_hash bytea NOT NULL,
    record_id uuid NOT NULL UNIQUE
);

-- A document that will not be posted, and why; '*' is every document of the request that has no record and no row here.
CREATE TABLE refusal (
    request_id uuid NOT NULL,
    document_id text NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    safe_to_retry boolean NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, document_id)
);

-- A request and its counts; its row lock orders everything that decides about its documents. Header and number of
-- documents are unknown until an event has brought them.
CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    header text,
    documents integer,
    posted integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    completed_at timestamptz
);
