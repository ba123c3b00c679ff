-- An officer as `gpki.user.v1` says it. `live`: the credential's certificate was issued and is not revoked.
CREATE TABLE officer (
    user_id text PRIMARY KEY,
    version bigint NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    office text NOT NULL,
    credential_id uuid,
    live boolean NOT NULL,
    CHECK (credential_id IS NOT NULL OR NOT live)
);

-- An application that was accepted; `content` is the canonical JSON that the registrar signed.
CREATE TABLE application (
    application uuid PRIMARY KEY,
    credential_id uuid NOT NULL UNIQUE,
    user_id text NOT NULL REFERENCES officer,
    content bytea NOT NULL,
    certificate_version bigint NOT NULL DEFAULT 0,
    accepted_at timestamptz NOT NULL DEFAULT now()
);
