-- The tree over the signing log, kept in tiles: complete nodes over 256 leaves (level 1), over 256 of those, and so on.
-- They follow from the leaves, and never change.
CREATE TABLE log_node (
    level smallint NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (level, index)
);

-- What was signed of the log, each upon the one before: two can never follow the same one.
CREATE TABLE checkpoint (
    size bigint PRIMARY KEY,
    previous bigint NOT NULL UNIQUE,
    root bytea NOT NULL,
    note text NOT NULL,
    CHECK (size > previous)
);

COMMENT ON TABLE log_node IS 'append-only: a node of the tree never changes';
COMMENT ON TABLE checkpoint IS 'append-only: what was signed stays signed';
