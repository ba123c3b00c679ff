-- A user's key outside the HSM: wrapped there, then encrypted under PIN and pepper. No PIN, no hash of a PIN.
CREATE TABLE credential (
    credential_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    algorithm text NOT NULL,
    wrapped bytea,
    salt bytea NOT NULL,
    memory_kib integer NOT NULL,
    iterations integer NOT NULL,
    parallelism integer NOT NULL,
    wrong_pins integer NOT NULL DEFAULT 0,
    locked_at timestamptz,
    destroyed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    credential_id uuid NOT NULL,
    root bytea NOT NULL,
    header text NOT NULL,
    expires_at timestamptz NOT NULL,
    requested_at timestamptz NOT NULL,
    dispatched boolean NOT NULL DEFAULT false,
    wrong_otps integer NOT NULL DEFAULT 0,
    wrong_pins integer NOT NULL DEFAULT 0,
    ended_at timestamptz,
    end_reason text,
    attempt text,
    reserved_at timestamptz,
    channel text,
    reference_code text
);

-- A slot that an attempt took before anything was tried. `void`: it could not be tried, and counts for nothing; the
-- same blob takes a slot again when it comes again.
CREATE TABLE attempt (
    request_id uuid NOT NULL,
    attempt text NOT NULL,
    credential_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'right', 'wrong-otp', 'wrong-pin', 'void')),
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, attempt)
);
CREATE INDEX attempt_taken_at ON attempt (taken_at);
CREATE INDEX attempt_pending ON attempt (credential_id) WHERE state = 'pending';

-- The documents of an authorised request; slices claim from here and from nowhere else.
CREATE TABLE document (
    request_id uuid NOT NULL,
    index integer NOT NULL,
    document_id text NOT NULL,
    state text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'signed', 'rejected')),
    PRIMARY KEY (request_id, index),
    UNIQUE (request_id, document_id)
);

-- Keys that PIN and OTP are sealed to; `private_key` is encrypted under a key of the HSM, and gone once destroyed.
CREATE TABLE sealing_key (
    key_id text PRIMARY KEY,
    chain bytea[] NOT NULL,
    private_key bytea,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    destroyed_at timestamptz
);
