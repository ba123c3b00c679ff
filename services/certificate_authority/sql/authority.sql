-- name: reserve
INSERT INTO certificate (
    serial, profile, holder, common_name, organizational_unit, serial_number, public_key, key_id,
    not_before, not_after, crl_url, medium, offices
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING

-- name: by_key
SELECT
    serial, profile, holder, common_name, organizational_unit, serial_number, public_key, key_id,
    not_before, not_after, crl_url, medium, offices, certificate, ended_at
FROM certificate WHERE key_id = $1

-- name: officer_has_certificate
SELECT EXISTS (SELECT FROM certificate WHERE profile = 'officer' AND holder = $1)

-- name: put_certificate
UPDATE certificate SET certificate = coalesce(certificate, $2) WHERE serial = $1 RETURNING certificate

-- name: authorities
SELECT profile, certificate FROM certificate
WHERE profile IN ('root', 'issuing', 'service-root') AND certificate IS NOT NULL

-- name: registrars
SELECT key_id, holder, certificate FROM certificate
WHERE profile = 'registrar' AND key_id = ANY ($1::text[]) AND certificate IS NOT NULL AND ended_at IS NULL

-- name: security_officers
SELECT key_id, holder, certificate, ended_at FROM certificate
WHERE profile = 'security-officer' AND certificate IS NOT NULL

-- name: is_certified
SELECT EXISTS (SELECT FROM certificate WHERE key_id = $1 AND certificate IS NOT NULL)

-- name: retire_others
-- Not of officers, though $1 says so: by that alone the index of the few is used.
UPDATE certificate SET ended_at = $4, ended_because = 'replaced'
WHERE profile = $1 AND profile <> 'officer' AND holder = $2 AND key_id <> $3 AND ended_at IS NULL

-- name: service_keys
SELECT key_id, profile, holder, certificate, ended_at FROM certificate
WHERE profile IN ('caller', 'registrar', 'producer') AND certificate IS NOT NULL
ORDER BY key_id

-- name: officer_for_update
SELECT serial_number, medium, certificate, version, suspended_at, ended_at FROM certificate
WHERE profile = 'officer' AND holder = $1 FOR UPDATE

-- name: revoke
UPDATE certificate SET ended_at = $2, ended_because = $3, version = version + 1 WHERE profile = 'officer' AND holder = $1

-- name: keep_suspension
INSERT INTO suspension (suspension, credential_id, registrar_key) VALUES ($1, $2, $3)
ON CONFLICT (suspension) DO NOTHING
RETURNING suspension

-- name: suspend
UPDATE certificate SET suspended_at = coalesce(suspended_at, $2), version = version + 1
WHERE profile = 'officer' AND holder = $1
RETURNING suspended_at

-- name: lift
UPDATE certificate SET suspended_at = NULL, version = version + 1 WHERE profile = 'officer' AND holder = $1

-- name: lock_issuer
SELECT 1 FROM certificate WHERE profile = $1 AND profile <> 'officer' FOR UPDATE

-- name: changes
SELECT coalesce(sum(version - 1), 0) FROM certificate WHERE profile = 'officer' AND version > 1

-- name: listed
SELECT serial, coalesce(suspended_at, ended_at) AS since, coalesce(ended_because, 'certificate_hold') AS because
FROM certificate
WHERE profile = 'officer' AND version > 1 AND (suspended_at IS NOT NULL OR ended_at IS NOT NULL)

-- name: take_crl_number
INSERT INTO crl (issuer, number, this_update, next_update, entries, changes)
SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 FROM crl WHERE issuer = $1
RETURNING number

-- name: put_crl
UPDATE crl SET der = $3 WHERE issuer = $1 AND number = $2 AND der IS NULL

-- name: crl_head
SELECT number, this_update, next_update, entries, changes FROM crl
WHERE issuer = $1 AND der IS NOT NULL ORDER BY number DESC LIMIT 1

-- name: archived_crl
SELECT der, this_update FROM crl WHERE issuer = $1 AND number = $2 AND der IS NOT NULL

-- name: crl_der
SELECT der FROM crl WHERE issuer = $1 AND number = $2
