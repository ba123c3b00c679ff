-- Every certificate of this authority. All of its content stands here before the HSM signs it; `certificate` follows.
-- `holder` is the authority's own name, the owner of a service key, or the credential id of an officer.
-- `ended_at`: an officer's certificate was revoked, a service's key was replaced. Final.
CREATE TABLE certificate (
    serial bytea PRIMARY KEY CHECK (octet_length(serial) BETWEEN 8 AND 20),
    profile text NOT NULL CHECK (profile IN (
        'root', 'issuing', 'service-root', 'sealing-authority', 'caller', 'registrar', 'producer', 'officer'
    )),
    holder text NOT NULL,
    common_name text NOT NULL,
    organizational_unit text,
    serial_number text,
    public_key bytea NOT NULL,
    key_id text NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    crl_url text,
    certificate bytea,
    ended_at timestamptz,
    ended_because text,
    reserved_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((ended_at IS NULL) = (ended_because IS NULL)),
    CHECK ((profile = 'officer') = (serial_number IS NOT NULL))
);
CREATE UNIQUE INDEX certificate_one_per_key ON certificate (key_id);
CREATE UNIQUE INDEX certificate_one_per_authority ON certificate (profile)
WHERE profile IN ('root', 'issuing', 'service-root');
CREATE UNIQUE INDEX certificate_one_per_credential ON certificate (holder) WHERE profile = 'officer';
CREATE UNIQUE INDEX certificate_one_live_per_officer ON certificate (serial_number)
WHERE profile = 'officer' AND ended_at IS NULL;
CREATE INDEX certificate_revoked ON certificate (ended_at) WHERE profile = 'officer' AND ended_at IS NOT NULL;

-- Every CRL; the number is taken, with what the CRL will list, before the HSM signs it.
CREATE TABLE crl (
    issuer text NOT NULL CHECK (issuer IN ('root', 'issuing')),
    number bigint NOT NULL CHECK (number > 0),
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    entries integer NOT NULL,
    der bytea,
    PRIMARY KEY (issuer, number)
);
