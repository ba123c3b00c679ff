-- name: lock
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.cancel'), hashtext($1::uuid::text))

-- name: keep
INSERT INTO cancel (request_id, cancellation, caller, user_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (request_id, cancellation) DO NOTHING

-- name: wait
SELECT EXISTS (SELECT 1 FROM cancel WHERE request_id = $1 AND caller = $2 AND user_id = $3)

-- name: take
DELETE FROM cancel WHERE request_id = $1 RETURNING cancellation, caller = $2 AND user_id = $3 AS own
