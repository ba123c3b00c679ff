-- name: lock
-- Codes of one request are numbered, delivered and given up one transaction at a time.
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.code'), hashtext($1::uuid::text))

-- name: number
-- The number that this resend has, or will have: the first belongs to the first code, whether it is reserved or not.
SELECT coalesce(
    (SELECT number FROM code WHERE request_id = $1 AND resend = $2),
    (SELECT greatest(max(number), 1) + 1 FROM code WHERE request_id = $1)
)

-- name: reserve
INSERT INTO code (request_id, number, resend, channel, reference_code, message_id, sealing_key, closed_code, user_id, total)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: reserved
SELECT request_id, number, resend, channel, reference_code, message_id, sealing_key, closed_code, delivered_at
FROM code WHERE request_id = $1 AND number = $2

-- name: lock_officers
INSERT INTO officer (user_id) SELECT DISTINCT user_id FROM unnest($1::text[]) AS one (user_id) ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id

-- name: officers
-- A statement of its own: that of the lock does not see what was committed while it waited.
SELECT user_id, held_until, ARRAY(
    SELECT reserved_at FROM code
    WHERE code.user_id = officer.user_id AND reserved_at > now() - $2::interval
        AND reserved_at > coalesce(answered_at, '-infinity')
    ORDER BY reserved_at DESC LIMIT $3
) AS unanswered, ARRAY(
    -- Not delivered yet, or not expired: no code takes longer than a day from its reservation to its end.
    SELECT reference_code FROM code
    WHERE code.user_id = officer.user_id AND reserved_at > now() - $2::interval
        AND (closed_code IS NOT NULL OR expires_at > $4)
) AS live_references
FROM officer WHERE user_id = ANY ($1::text[])

-- name: answered
-- The first right answer to a request counts, not what follows from it for hours.
WITH right_ones AS (
    UPDATE code SET answered = true WHERE request_id = ANY ($1::uuid[]) AND NOT answered RETURNING user_id
), officers AS (
    SELECT user_id FROM officer WHERE user_id IN (SELECT user_id FROM right_ones) ORDER BY user_id FOR UPDATE
)
UPDATE officer SET answered_at = now() FROM officers WHERE officer.user_id = officers.user_id

-- name: user_of
SELECT user_id FROM code WHERE request_id = $1 ORDER BY number LIMIT 1

-- name: sum_of_day
-- What was given up opens nothing. A statement of its own after the officer's lock.
SELECT coalesce(sum(total), 0) FROM (
    SELECT max(total) AS total FROM code
    WHERE user_id = $1 AND channel = ANY ($2::text[]) AND request_id <> $3 AND reserved_at > now() - $4::interval
        AND (closed_code IS NOT NULL OR delivered_at IS NOT NULL)
    GROUP BY request_id
) AS requests

-- name: hold
UPDATE officer SET held_until = greatest(held_until, $2) WHERE user_id = $1

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
