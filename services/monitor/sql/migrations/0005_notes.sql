-- The notes themselves, 350 bytes each, from which a receipt is made years later; of what was countersigned before this
-- migration the newest alone, which holds what those before it held.
ALTER TABLE countersigned ADD COLUMN note text;
UPDATE countersigned SET note = witness.note FROM witness WHERE witness.size = countersigned.size;

-- Where a witness that had been away for too long went on by a person's word: what lies between the two sizes it was
-- never told, and has only the log's proof of.
CREATE TABLE witness_beginning (
    origin text NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    previous bigint NOT NULL,
    previous_root bytea NOT NULL,
    reason text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (origin, size),
    CHECK (size > previous)
);
COMMENT ON TABLE witness_beginning IS 'append-only: what was decided stays to be seen';
