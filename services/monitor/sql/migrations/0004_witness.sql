-- How far the signing log is countersigned: the newest note, the peaks of the tree under it (RFC 9162: the complete
-- subtrees of its right edge, highest first), and from where what was told since must be read again.
CREATE TABLE witness (
    origin text PRIMARY KEY,
    size bigint NOT NULL,
    peaks bytea[] NOT NULL,
    note text NOT NULL,
    posted_offsets bigint[] NOT NULL,
    checkpoint_offset bigint NOT NULL
);

-- Every root that was countersigned: one that comes again is known by it, another of the same size is a fork.
CREATE TABLE countersigned (
    size bigint PRIMARY KEY,
    root bytea NOT NULL
);
COMMENT ON TABLE countersigned IS 'append-only: what was countersigned stays countersigned';
