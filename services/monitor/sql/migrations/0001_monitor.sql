-- What the topics have told of a document. A row is the union of its events: each column the earliest that was told,
-- whatever came first and however often. `told_at`: an alarm was raised about it, and nothing has answered it yet.
CREATE TABLE document (
    request_id uuid NOT NULL,
    document_id text NOT NULL,
    signed_at timestamptz,
    token_signed_at timestamptz,
    posted_at timestamptz,
    rejected_at timestamptz,
    told_at timestamptz,
    PRIMARY KEY (request_id, document_id)
);
-- What does not agree: few at any moment, and most of those for a moment only.
CREATE INDEX document_unposted ON document (signed_at) WHERE posted_at IS NULL AND rejected_at IS NULL;
CREATE INDEX document_unsigned ON document (posted_at) WHERE signed_at IS NULL AND token_signed_at IS NULL;
CREATE INDEX document_told ON document (told_at) WHERE told_at IS NOT NULL;

-- The same of a request. `day` is that of its completion in Kuala Lumpur, or the first whose file was not made then.
CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    header text,
    documents bytea,
    began_at timestamptz,
    ended_at timestamptz,
    completed_at timestamptz,
    posted integer,
    refusals bytea,
    day date
);
CREATE INDEX request_of_day ON request (day, completed_at, request_id) WHERE day IS NOT NULL;
CREATE INDEX request_open ON request (began_at) WHERE completed_at IS NULL;

-- Days that are closed: what completes from then on is of a later one. `sha256` once the file is there.
CREATE TABLE daily_file (
    day date PRIMARY KEY,
    closed_at timestamptz NOT NULL,
    sha256 bytea
);
