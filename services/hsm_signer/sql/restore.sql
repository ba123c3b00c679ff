-- name: lock
-- Who takes a slot locks a row of `credential` first; no other restore begins either.
LOCK TABLE credential IN EXCLUSIVE MODE

-- name: made_at
SELECT now()

-- name: credentials
SELECT credential_id, user_id, algorithm, wrapped, salt, wrapping_key, pepper, memory_kib, iterations, parallelism,
    wrong_pins, locked_at, destroyed_at, created_at
FROM credential ORDER BY credential_id

-- name: custody_keys
SELECT label FROM custody_key ORDER BY label

-- name: destroyed_keys
SELECT label FROM destroyed_key ORDER BY label

-- name: history
SELECT topic, partition, next_offset FROM history ORDER BY topic, partition

-- name: know
INSERT INTO custody_key (label) SELECT * FROM unnest($1::text[]) ON CONFLICT (label) DO NOTHING

-- name: keep_destroyed
INSERT INTO destroyed_key (label) SELECT * FROM unnest($1::text[]) ON CONFLICT (label) DO NOTHING

-- name: put
-- What was destroyed here stays destroyed.
INSERT INTO credential (
    credential_id, user_id, algorithm, wrapped, salt, wrapping_key, pepper, memory_kib, iterations, parallelism,
    wrong_pins, locked_at, destroyed_at, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (credential_id) DO UPDATE SET
    wrapped = EXCLUDED.wrapped, salt = EXCLUDED.salt, wrapping_key = EXCLUDED.wrapping_key, pepper = EXCLUDED.pepper,
    memory_kib = EXCLUDED.memory_kib, iterations = EXCLUDED.iterations, parallelism = EXCLUDED.parallelism,
    wrong_pins = EXCLUDED.wrong_pins, locked_at = EXCLUDED.locked_at, destroyed_at = EXCLUDED.destroyed_at
WHERE credential.destroyed_at IS NULL

-- name: revoked
SELECT credential_id, value FROM certificate_state

-- name: limit_tries
-- One try is left, or none where so many wrong ones were told since; `everybody` has none when it is not told whose.
UPDATE credential SET
    wrong_pins = greatest(wrong_pins, $3::integer - 1),
    locked_at = coalesce(locked_at, CASE WHEN $4 OR credential_id = ANY ($2::uuid[])
        OR wrong_pins + coalesce(($1::jsonb ->> credential_id::text)::integer, 0) >= $3 THEN now() END)
WHERE destroyed_at IS NULL

-- name: put_request
-- As ended: what it authorised is not authorised again. Says whether it was open, or not known, until now.
INSERT INTO request (request_id, credential_id, root, header, requested_at, expires_at, dispatched, ended_at, end_reason)
VALUES ($1, $2, $3, $4, $5, $5, true, now(), $6)
ON CONFLICT (request_id) DO UPDATE SET ended_at = now(), end_reason = EXCLUDED.end_reason, attempt = NULL
WHERE request.ended_at IS NULL
RETURNING request_id

-- name: reject_documents
UPDATE document SET state = 'rejected' WHERE request_id = $1 AND state = 'reserved'

-- name: put_wrong_code
INSERT INTO attempt (request_id, attempt, credential_id, state, taken_at) VALUES ($1, $2, $3, 'wrong-otp', $4)
ON CONFLICT (request_id, attempt) DO NOTHING

-- name: put_unlock
INSERT INTO pin_unlock (unlock, credential_id) VALUES ($1, $2) ON CONFLICT (unlock) DO NOTHING

-- name: put_sealing_key
-- Its private key is lost with the database: it opens nothing, is replaced at once, and ends as every replaced one does.
INSERT INTO sealing_key (key_id, chain, private_key, created_at) VALUES ($1, $2, $3, to_timestamp(0))
ON CONFLICT (key_id) DO NOTHING

-- name: counted
SELECT count(*) AS credentials, count(destroyed_at) AS destroyed,
    count(locked_at) FILTER (WHERE destroyed_at IS NULL) AS locked
FROM credential

-- name: followed
INSERT INTO restoration (order_id, backup_sha256) VALUES ($1, $2)
