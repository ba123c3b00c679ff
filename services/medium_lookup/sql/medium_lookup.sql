-- name: add_request
INSERT INTO request (request_id, caller, user_id, end_reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (request_id) DO NOTHING

-- name: request
SELECT caller, user_id, end_reason FROM request WHERE request_id = $1
