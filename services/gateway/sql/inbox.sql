-- name: keep
INSERT INTO message (request_id, number, device_id, user_id, reference_code, delivered_at, expires_at, message)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (request_id, number) DO NOTHING

-- name: clear
-- Each delivery clears away a few that have expired; nobody waits for another's clearing.
DELETE FROM message WHERE (request_id, number) IN (
    SELECT request_id, number FROM message
    WHERE expires_at < now() ORDER BY expires_at LIMIT 50 FOR UPDATE SKIP LOCKED
)

-- name: messages
SELECT request_id, number, reference_code, delivered_at, expires_at, message FROM message
WHERE device_id = $1 AND user_id = $2 AND expires_at > $3
ORDER BY delivered_at DESC, request_id, number LIMIT $4

-- name: was_told
SELECT EXISTS (
    SELECT 1 FROM message WHERE device_id = $1 AND user_id = $2 AND request_id = $3 AND reference_code = $4
)

-- name: keep_notice
INSERT INTO notice (notice_id, device_id, user_id, device, told_at, message) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (notice_id) DO NOTHING

-- name: clear_notices
-- Each one clears away a few that are too old; nobody waits for another's clearing.
DELETE FROM notice WHERE notice_id IN (
    SELECT notice_id FROM notice WHERE told_at < now() - $1::interval ORDER BY told_at LIMIT 50 FOR UPDATE SKIP LOCKED
)

-- name: notices
SELECT notice_id AS notice, told_at, message FROM notice
WHERE device_id = $1 AND user_id = $2 AND told_at > $3
ORDER BY told_at DESC, notice_id LIMIT $4

-- name: told_device
SELECT device FROM notice WHERE device_id = $1 AND user_id = $2 AND told_at > $3 ORDER BY told_at DESC LIMIT 1
