-- name: lock_requests
-- In id order, so that two never deadlock.
INSERT INTO request (request_id, header, documents)
SELECT request_id, header, documents
FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS asked (request_id, header, documents)
ORDER BY request_id
ON CONFLICT (request_id) DO UPDATE SET
    header = coalesce(request.header, excluded.header),
    documents = coalesce(request.documents, excluded.documents)
RETURNING request_id, header, documents, posted, refused, completed_at

-- name: decided
-- No EXISTS: PostgreSQL may answer it from a hash of the whole table, made anew for each slice.
SELECT asked.request_id, asked.document_id
FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS asked (request_id, document_id, record_id)
WHERE coalesce(
    (SELECT true FROM record WHERE record.record_id = asked.record_id),
    (
        SELECT true FROM refusal
        WHERE refusal.request_id = asked.request_id AND refusal.document_id = asked.document_id
    )
)

-- name: certified
SELECT system, document_id, user_id, sha256, amount, currency
FROM unnest($1::text[], $2::text[]) AS asked (system, document_id) JOIN record USING (system, document_id)
WHERE action = 'sah'

-- name: insert_records
-- Sorted by what is unique, so that two never deadlock.
WITH kept AS (
    INSERT INTO record_content (content_id, bytes) VALUES (gen_random_uuid(), $13::bytea) RETURNING content_id
)
INSERT INTO record (
    record_id, request_id, place, system, document_id, action, user_id, sha256, amount, currency, starts, size,
    posted_at, content_id
)
SELECT new.*, $14::timestamptz, kept.content_id
FROM kept CROSS JOIN unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::integer[], $12::integer[]
) AS new (record_id, request_id, place, system, document_id, action, user_id, sha256, amount, currency, starts, size)
ORDER BY system, document_id
ON CONFLICT (system, document_id, action) DO NOTHING
RETURNING record_id

-- name: refuse
INSERT INTO refusal (request_id, document_id, stage, reason, safe_to_retry)
SELECT *
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[]) AS new (
    request_id, document_id, stage, reason, safe_to_retry
)
ON CONFLICT (request_id, document_id) DO NOTHING
RETURNING request_id, document_id

-- name: count
UPDATE request
SET posted = new.posted, refused = new.refused, completed_at = new.completed_at
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::timestamptz[]) AS new (
    request_id, posted, refused, completed_at
)
WHERE request.request_id = new.request_id

-- name: lock_log
-- A statement of its own: what follows must see what the holder before us committed.
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.signing_log'))

-- name: append
INSERT INTO signing_log (position, leaf_hash, record_id)
SELECT (SELECT coalesce(max(position), -1) FROM signing_log) + entry.place, entry.leaf_hash, entry.record_id
FROM unnest($1::bytea[], $2::uuid[]) WITH ORDINALITY AS entry (leaf_hash, record_id, place)
RETURNING record_id, position

-- name: posted_documents
SELECT document_id, record_id FROM record WHERE request_id = $1 ORDER BY place

-- name: refused_documents
-- '*' stands for itself, also beside documents of the same cause.
SELECT stage, reason, safe_to_retry, array_agg(document_id ORDER BY document_id) AS documents
FROM refusal
WHERE request_id = $1
GROUP BY stage, reason, safe_to_retry, document_id = '*'
ORDER BY min(refused_at), stage, reason
