-- name: lock
-- Codes of one request are numbered, delivered and given up one transaction at a time.
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.code'), hashtext($1::uuid::text))

-- name: number
-- The number that this resend has, or will have: the first belongs to the first code, whether it is reserved or not.
SELECT coalesce(
    (SELECT number FROM code WHERE request_id = $1 AND resend = $2),
    (SELECT greatest(max(number), 1) + 1 FROM code WHERE request_id = $1)
)

-- name: lock_users
-- In the order of the locks themselves, so that two never deadlock.
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.reference'), lock)
FROM (SELECT DISTINCT hashtext(user_id) AS lock FROM unnest($1::text[]) AS asked (user_id) ORDER BY lock) AS locks

-- name: live_references
-- Not delivered yet, or not expired. Of a day: no code takes longer from its reservation to its end.
SELECT user_id, reference_code FROM code
WHERE
    user_id = ANY ($1::text[]) AND reserved_at > now() - interval '1 day'
    AND (closed_code IS NOT NULL OR expires_at > $2)

-- name: reserve
INSERT INTO code (request_id, number, resend, channel, reference_code, message_id, sealing_key, closed_code, user_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (request_id, number) DO NOTHING

-- name: reserved
SELECT request_id, number, resend, channel, reference_code, message_id, sealing_key, closed_code, delivered_at
FROM code WHERE request_id = $1 AND number = $2

-- name: history
SELECT
    request_id,
    max(number) AS highest,
    max(expires_at) AS expires_at,
    max(delivered_at) IS NULL AND bool_or(number = 1 AND closed_code IS NULL) AS ended
FROM code WHERE request_id = ANY ($1::uuid[]) GROUP BY request_id

-- name: delivered
UPDATE code SET closed_code = NULL, delivered_at = $3, expires_at = $4 WHERE request_id = $1 AND number = $2

-- name: give_up
UPDATE code SET closed_code = NULL WHERE request_id = $1 AND closed_code IS NOT NULL

-- name: give_up_code
UPDATE code SET closed_code = NULL
WHERE request_id = $1 AND resend IS NOT DISTINCT FROM $2 AND closed_code IS NOT NULL
