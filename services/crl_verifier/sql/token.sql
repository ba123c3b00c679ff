-- name: add_request
INSERT INTO token_request (request_id, credential_id, root, header, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (request_id) DO NOTHING RETURNING true

-- name: add_documents
INSERT INTO token_document (request_id, document_id, index)
SELECT $1, document_id, index - 1 FROM unnest($2::text[]) WITH ORDINALITY AS entry (document_id, index)

-- name: lock_requests
-- In id order, so that two never deadlock.
SELECT request_id, credential_id, root, header, expires_at, end_reason FROM token_request
WHERE request_id = ANY ($1::uuid[]) ORDER BY request_id FOR UPDATE

-- name: documents
SELECT request_id, document_id, state FROM token_document
JOIN unnest($1::uuid[], $2::text[]) AS asked (request_id, document_id) USING (request_id, document_id)

-- name: unsigned
SELECT request_id, document_id, expires_at FROM token_request JOIN token_document USING (request_id)
WHERE request_id = ANY ($1::uuid[]) AND end_reason IS NULL AND expires_at <= $2 AND state = 'open'

-- name: mark
UPDATE token_document AS document SET state = decided.state
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS decided (request_id, document_id, state)
WHERE (document.request_id, document.document_id) = (decided.request_id, decided.document_id)

-- name: expire_rest
-- What has a signature that waits, for a CRL or for a moment, is decided by that.
WITH rest AS (
    UPDATE token_document SET state = 'rejected'
    WHERE request_id = $1 AND state IN ('open', 'waiting') AND NOT EXISTS (
        SELECT FROM due
        WHERE due.request_id = token_document.request_id AND key = convert_to(document_id, 'UTF8')
            AND partition IS NOT NULL
    )
    RETURNING document_id, index
)
SELECT document_id FROM rest ORDER BY index

-- name: undecided
SELECT EXISTS (SELECT FROM token_document WHERE request_id = $1 AND state IN ('open', 'waiting'))

-- name: reject_rest
WITH rest AS (
    UPDATE token_document SET state = 'rejected' WHERE request_id = $1 AND state = ANY ($2::text[])
    RETURNING document_id, index
)
SELECT document_id FROM rest ORDER BY index

-- name: end_request
UPDATE token_request SET ended_at = now(), end_reason = $2 WHERE request_id = $1 AND end_reason IS NULL
