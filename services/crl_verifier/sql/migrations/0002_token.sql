-- Requests that their officers sign with tokens: from `medium-resolved` on they end here.
CREATE TABLE token_request (
    request_id uuid PRIMARY KEY,
    credential_id uuid NOT NULL,
    root bytea NOT NULL,
    header text NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text
);

-- The first outcome of a document counts. `waiting`: a signature is here, and waits for a CRL.
CREATE TABLE token_document (
    request_id uuid NOT NULL,
    document_id text NOT NULL,
    index integer NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'waiting', 'verified', 'rejected')),
    PRIMARY KEY (request_id, document_id)
);
