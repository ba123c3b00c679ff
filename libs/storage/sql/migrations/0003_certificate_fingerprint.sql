-- A signature names its certificate, not a credential: the state is found by SHA-256 of the certificate's DER too.
ALTER TABLE certificate_state ADD COLUMN fingerprint bytea;
UPDATE certificate_state
SET fingerprint = sha256(decode(convert_from(value, 'UTF8')::jsonb ->> 'certificate', 'base64'));
CREATE INDEX certificate_state_fingerprint ON certificate_state (fingerprint);
