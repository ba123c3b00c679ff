-- The last good CRL of each authority's key: what is believed while the CRL server is away, and the least that is believed after.
CREATE TABLE crl (
    issuer_key_id bytea PRIMARY KEY,
    number numeric(49) NOT NULL,
    this_update timestamptz NOT NULL,
    der bytea NOT NULL,
    etag text,
    last_modified text,
    kept_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE crl ALTER COLUMN der SET STORAGE EXTERNAL;
