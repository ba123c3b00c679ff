-- name: lock_credential
SELECT credential_id, user_id, algorithm, wrapped, salt, wrapping_key, pepper, memory_kib, iterations, parallelism,
    wrong_pins, locked_at, destroyed_at
FROM credential WHERE credential_id = $1 FOR UPDATE

-- name: add_credential
INSERT INTO credential (
    credential_id, user_id, algorithm, wrapped, salt, wrapping_key, pepper, memory_kib, iterations, parallelism
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (credential_id) DO NOTHING

-- name: seal_again
UPDATE credential SET wrapped = $3, salt = $4, wrapping_key = $5, pepper = $6, memory_kib = $7, iterations = $8,
    parallelism = $9
WHERE credential_id = $1 AND wrapped = $2

-- name: has_credential
SELECT EXISTS (SELECT 1 FROM credential WHERE credential_id = $1)

-- name: destroy_credentials
UPDATE credential SET wrapped = NULL, wrapping_key = NULL, pepper = NULL, destroyed_at = now()
WHERE credential_id = ANY ($1::uuid[]) AND destroyed_at IS NULL

-- name: add_request
INSERT INTO request (request_id, credential_id, root, header, requested_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (request_id) DO NOTHING

-- name: lock_request
SELECT request_id, credential_id, root, header, requested_at, expires_at, wrong_otps, wrong_pins, ended_at, end_reason, attempt,
    reserved_at, channel, reference_code
FROM request WHERE request_id = $1 FOR UPDATE

-- name: request
SELECT request_id, credential_id, root, header, requested_at, expires_at, wrong_otps, wrong_pins, ended_at, end_reason, attempt,
    reserved_at, channel, reference_code
FROM request WHERE request_id = $1

-- name: code_dispatched
UPDATE request SET expires_at = CASE WHEN dispatched THEN greatest(expires_at, $2) ELSE $2 END, dispatched = true
WHERE request_id = $1 RETURNING expires_at

-- name: end_request
UPDATE request SET ended_at = now(), end_reason = $2 WHERE request_id = $1 AND ended_at IS NULL

-- name: unanswered
SELECT request_id, expires_at FROM request
WHERE request_id = ANY ($1::uuid[]) AND ended_at IS NULL AND reserved_at IS NULL AND expires_at <= $2

-- name: take_slot
INSERT INTO attempt (request_id, attempt, credential_id) VALUES ($1, $2, $3)
ON CONFLICT (request_id, attempt) DO UPDATE SET state = 'pending', taken_at = now() WHERE attempt.state = 'void'

-- name: attempt_state
SELECT state FROM attempt WHERE request_id = $1 AND attempt = $2

-- name: pending
-- Of a request that has ended too, while they may still be tried: a cancel opens no place for another guess. A change
-- of the PIN is an attempt without a request.
-- Of a day a wrong code counts until it is a day old, so that there is no hour at which a guesser gets twice as many.
SELECT count(*) FILTER (WHERE attempt.request_id = $2) AS of_request, count(*) AS of_credential,
    (SELECT count(*) FROM attempt
        WHERE credential_id = $1 AND state = 'wrong-otp' AND taken_at > now() - $5::interval) AS wrong_otps_of_day,
    (SELECT taken_at + $5::interval FROM attempt
        WHERE credential_id = $1 AND state = 'wrong-otp' AND taken_at > now() - $5::interval
        ORDER BY taken_at DESC OFFSET $6::integer - 1 LIMIT 1) AS held_until
FROM attempt LEFT JOIN request USING (request_id)
WHERE attempt.credential_id = $1 AND attempt.state = 'pending'
    AND (request.ended_at IS NULL OR attempt.taken_at > now() - $4::interval)
    AND (attempt.request_id, attempt.attempt) <> ($2, $3)

-- name: decide_attempt
-- A twin of the record, with the same seal and something wrong beside it, may have given the slot back meanwhile: what
-- was tried is counted all the same, once.
UPDATE attempt SET state = $3
WHERE request_id = $1 AND attempt = $2
    AND (state = 'pending' OR (state = 'void' AND $3 IN ('wrong-otp', 'wrong-pin')))

-- name: last_taken
SELECT max(taken_at) FROM attempt

-- name: count_wrong_otp
UPDATE request SET wrong_otps = wrong_otps + 1 WHERE request_id = $1 RETURNING wrong_otps

-- name: count_wrong_pin_of_request
UPDATE request SET wrong_pins = wrong_pins + 1 WHERE request_id = $1 RETURNING wrong_pins

-- name: count_wrong_pin_of_credential
UPDATE credential SET wrong_pins = wrong_pins + 1,
    locked_at = coalesce(locked_at, CASE WHEN wrong_pins + 1 >= $2 THEN now() END)
WHERE credential_id = $1 RETURNING wrong_pins

-- name: forget_wrong_pins
UPDATE credential SET wrong_pins = 0 WHERE credential_id = $1

-- name: authorise
UPDATE request SET attempt = $2, reserved_at = $3, channel = $4, reference_code = $5 WHERE request_id = $1

-- name: reserve_documents
INSERT INTO document (request_id, index, document_id)
SELECT $1, index - 1, document_id FROM unnest($2::text[]) WITH ORDINALITY AS entry (document_id, index)

-- name: next_slice
-- In one snapshot: what is next, how its request ended, and the state of its certificate.
SELECT
    ARRAY(
        SELECT index FROM document
        WHERE request_id = $1 AND state = 'reserved' AND index > $3
        ORDER BY index LIMIT $2
    ) AS indexes,
    (SELECT end_reason FROM request WHERE request_id = $1) AS end_reason,
    (SELECT value FROM certificate_state WHERE credential_id = $4) AS certificate

-- name: mark_documents
-- Between the first and the last: by `= ANY` alone, all documents of the request were read for each slice.
UPDATE document SET state = $3
WHERE request_id = $1 AND index BETWEEN ($2::integer[])[1] AND ($2::integer[])[cardinality($2::integer[])]
    AND index = ANY ($2::integer[]) AND state = 'reserved'
RETURNING index

-- name: reject_reserved
UPDATE document SET state = 'rejected' WHERE request_id = $1 AND state = 'reserved' RETURNING index, document_id

-- name: lock_sealing_keys
SELECT pg_advisory_xact_lock(hashtext(current_schema()), 2)

-- name: sealing_keys
SELECT key_id, chain, private_key, created_at, retired_at, destroyed_at FROM sealing_key
WHERE destroyed_at IS NULL ORDER BY created_at

-- name: add_sealing_key
INSERT INTO sealing_key (key_id, chain, private_key, created_at) VALUES ($1, $2, $3, $4)

-- name: retire_sealing_keys
UPDATE sealing_key SET retired_at = $2 WHERE key_id <> $1 AND retired_at IS NULL
RETURNING key_id, chain, created_at, retired_at

-- name: destroy_sealing_keys
UPDATE sealing_key SET private_key = NULL, destroyed_at = now() WHERE retired_at < $1 AND destroyed_at IS NULL
RETURNING key_id
