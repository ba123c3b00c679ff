-- name: advance
-- In id order, so that two never deadlock. Sums, "or" and "first known" make the order of arrival irrelevant.
WITH moved AS (
    INSERT INTO request (request_id, header, vouched, medium, seq, signed, verified, posted)
    SELECT request_id, header, vouched, medium, seq, signed, verified, posted
    FROM unnest(
        $1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::bigint[], $6::integer[], $7::integer[], $8::integer[]
    ) AS new (request_id, header, vouched, medium, seq, signed, verified, posted)
    ORDER BY request_id
    ON CONFLICT (request_id) DO UPDATE SET
        header = CASE
            WHEN excluded.vouched AND NOT request.vouched THEN excluded.header
            ELSE coalesce(request.header, excluded.header)
        END,
        vouched = request.vouched OR excluded.vouched,
        medium = coalesce(request.medium, excluded.medium),
        seq = request.seq + excluded.seq,
        signed = request.signed + excluded.signed,
        verified = request.verified + excluded.verified,
        posted = request.posted + excluded.posted
    RETURNING request_id, seq, signed, verified, posted
)
INSERT INTO timeline (request_id, seq, kind, at, data, reached)
SELECT
    entry.request_id,
    moved.seq - entry.before_last,
    entry.kind,
    entry.at,
    entry.data,
    CASE entry.kind WHEN 'signed' THEN moved.signed WHEN 'verified' THEN moved.verified WHEN 'posted' THEN moved.posted END
FROM unnest($9::uuid[], $10::integer[], $11::text[], $12::timestamptz[], $13::text[]) AS entry (
    request_id, before_last, kind, at, data
)
JOIN moved USING (request_id)

-- name: request
SELECT header, medium, seq, signed, verified, posted FROM request WHERE request_id = $1

-- name: told
SELECT kind, at, data FROM timeline
WHERE request_id = $1 AND seq <= $2 AND kind NOT IN ('signed', 'verified', 'posted')
ORDER BY seq

-- name: page
SELECT seq, kind, at, data, reached FROM timeline
WHERE request_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq LIMIT $4

-- name: ended
SELECT EXISTS (SELECT 1 FROM timeline WHERE request_id = $1 AND seq <= $2 AND kind = 'completed')

-- name: lock
SELECT 1 FROM request WHERE request_id = $1 FOR UPDATE

-- name: calls
SELECT count(*) FROM timeline WHERE request_id = $1 AND kind = $2

-- name: add_manifests
INSERT INTO manifest (request_id, signed, requested_at, credential_id, channels) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (request_id) DO NOTHING

-- name: add_challenges
INSERT INTO challenge (request_id, number, sealing_key_id, sealed)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::bytea[])
ON CONFLICT (request_id, number) DO NOTHING

-- name: forget
WITH challenges AS (DELETE FROM challenge WHERE request_id = ANY ($1::uuid[]))
DELETE FROM manifest WHERE request_id = ANY ($1::uuid[])

-- name: manifest
SELECT signed FROM manifest WHERE request_id = $1

-- name: challenges
SELECT sealing_key_id, sealed FROM challenge WHERE request_id = $1 ORDER BY number DESC LIMIT $2

-- name: submission
SELECT body_hash, attempt, event_id FROM submission WHERE caller = $1 AND idempotency_key = $2

-- name: contradicted
SELECT EXISTS (SELECT 1 FROM submission WHERE event_id = $1 AND body_hash <> $2)

-- name: add_submission
INSERT INTO submission (caller, idempotency_key, body_hash, attempt, event_id, sealed)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (caller, idempotency_key) DO NOTHING
RETURNING true

-- name: use_jwt
-- Each use clears away a few that have expired; nobody waits for another's clearing.
WITH expired AS (
    DELETE FROM used_jwt
    WHERE (caller, jti) IN (
        SELECT caller, jti FROM used_jwt
        WHERE expires_at < $4 AND (caller, jti) <> ($1, $2)
        ORDER BY expires_at LIMIT 5 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO used_jwt (caller, jti, expires_at) VALUES ($1, $2, $3)
ON CONFLICT (caller, jti) DO NOTHING
RETURNING jti
