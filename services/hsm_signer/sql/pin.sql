-- name: unlock
UPDATE credential SET wrong_pins = 0, locked_at = NULL
WHERE credential_id = $1 AND locked_at IS NOT NULL AND destroyed_at IS NULL
RETURNING user_id

-- name: keep_unlock
INSERT INTO pin_unlock (unlock, credential_id) VALUES ($1, $2)
ON CONFLICT (unlock) DO NOTHING
RETURNING unlock
