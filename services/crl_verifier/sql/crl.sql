-- name: load
SELECT der, etag, last_modified FROM crl WHERE issuer_key_id = $1

-- name: keep
-- Replicas share the row: one that was given an older CRL than another has seen keeps nothing.
INSERT INTO crl (issuer_key_id, number, this_update, der, etag, last_modified) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (issuer_key_id) DO UPDATE SET
    number = excluded.number,
    this_update = excluded.this_update,
    der = excluded.der,
    etag = excluded.etag,
    last_modified = excluded.last_modified,
    kept_at = now()
WHERE (crl.number, crl.this_update) <= (excluded.number, excluded.this_update)
RETURNING issuer_key_id
