-- Up to where Kafka's history is in this database: of what we said, all before it is recorded here; of certificates, all
-- before it is handled. A database that went back in time has older ones, and finds behind them what it does not know.
CREATE TABLE history (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Orders to restore custody that were followed. That each is followed once, the HSM keeps: this table goes back too.
CREATE TABLE restoration (
    order_id uuid PRIMARY KEY,
    backup_sha256 text NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE restoration IS 'append-only: who asks later what was restored, and when';
