-- name: put_user
INSERT INTO user_state (user_id, version, value) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, value = EXCLUDED.value
WHERE user_state.version < EXCLUDED.version

-- name: put_certificate
-- Revocation is final: nothing takes its place, whatever version it says.
INSERT INTO certificate_state (credential_id, user_id, version, value, fingerprint) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (credential_id) DO UPDATE
SET version = EXCLUDED.version, value = EXCLUDED.value, fingerprint = EXCLUDED.fingerprint
WHERE certificate_state.version < EXCLUDED.version
    AND convert_from(certificate_state.value, 'UTF8')::jsonb ->> 'status' <> 'revoked'

-- name: put_key
INSERT INTO key_state (key_id, purpose, version, value) VALUES ($1, $2, $3, $4)
ON CONFLICT (key_id) DO UPDATE SET version = EXCLUDED.version, value = EXCLUDED.value
WHERE key_state.version < EXCLUDED.version

-- name: user
SELECT value FROM user_state WHERE user_id = $1

-- name: certificates
SELECT credential_id, value FROM certificate_state WHERE credential_id = ANY ($1::uuid[])

-- name: certificates_by_fingerprint
SELECT fingerprint, value FROM certificate_state WHERE fingerprint = ANY ($1::bytea[])

-- name: key
SELECT value FROM key_state WHERE key_id = $1 AND purpose = $2

-- name: keys
SELECT value FROM key_state WHERE purpose = $1
