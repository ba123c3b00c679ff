-- name: put
INSERT INTO notice (notice_id, user_id, address, subject, body, message_id, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (notice_id) DO NOTHING
RETURNING notice_id

-- name: open
SELECT notice_id, user_id, address, subject, body, message_id, made_at
FROM notice WHERE notice_id = ANY ($1::uuid[]) AND answer IS NULL

-- name: answered
UPDATE notice SET answer = $2, answered_at = $3 WHERE notice_id = $1 AND answer IS NULL
