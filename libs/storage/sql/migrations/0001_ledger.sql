-- What was handled: one row per delivery, by its deterministic id, with the hash of its content. A parked one has its
-- row too, so that a twin or a repeat never takes it for new while it waits.
CREATE TABLE inbox (
    id uuid PRIMARY KEY,
    content_hash bytea NOT NULL,
    parked boolean NOT NULL DEFAULT false,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_recorded_at ON inbox USING brin (recorded_at);

-- What was decided: the exact records that follow from a delivery, ready to be published, again if need be.
CREATE TABLE outcome (
    event_id uuid PRIMARY KEY,
    cause uuid NOT NULL,
    topic text NOT NULL,
    key bytea,
    value bytea NOT NULL,
    headers text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
-- A document's record stays in its row: neither compressed nor moved to the side table.
ALTER TABLE outcome ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE outcome SET (toast_tuple_target = 8160);
CREATE INDEX outcome_recorded_at ON outcome USING brin (recorded_at);

-- Which outcomes no later transaction has marked as published.
CREATE TABLE unpublished (
    event_id uuid PRIMARY KEY,
    cause uuid NOT NULL
);
CREATE INDEX unpublished_cause ON unpublished (cause);

-- Time as an input: parked records (which have a place in a partition) and timers, claimed by lease when they are due.
CREATE TABLE due (
    id uuid PRIMARY KEY,
    what text NOT NULL,
    request_id uuid,
    at timestamptz NOT NULL,
    why text NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    content_hash bytea NOT NULL,
    key bytea,
    value bytea NOT NULL,
    headers text NOT NULL,
    appended_at timestamptz NOT NULL,
    partition integer,
    "offset" bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE INDEX due_at ON due (at);
CREATE INDEX due_request ON due (request_id) WHERE request_id IS NOT NULL;
