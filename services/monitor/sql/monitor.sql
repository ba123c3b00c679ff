-- name: lock_days
-- Shared by those who give requests a day, alone for who closes one: no request comes into a day that is closed.
SELECT pg_advisory_xact_lock_shared(hashtext(current_schema() || '.daily_file'))

-- name: lock_days_alone
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.daily_file'))

-- name: write_requests
-- Of a day that was pruned all is in its file: what comes again of it gets no day.
INSERT INTO request AS known (
    request_id, header, documents, began_at, ended_at, completed_at, posted, refusals, day
)
SELECT
    request_id, header, documents, began_at, ended_at, completed_at, posted, refusals,
    CASE
        WHEN day > coalesce((SELECT max(pruned.day) FROM daily_file AS pruned WHERE pruned_at IS NOT NULL), '-infinity')
            THEN greatest(day, (SELECT max(daily_file.day) + 1 FROM daily_file))
    END
FROM unnest(
    $1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::integer[],
    $8::bytea[], $9::date[]
) AS new (request_id, header, documents, began_at, ended_at, completed_at, posted, refusals, day)
ORDER BY request_id
ON CONFLICT (request_id) DO UPDATE SET
    header = coalesce(known.header, excluded.header),
    documents = coalesce(known.documents, excluded.documents),
    began_at = least(known.began_at, excluded.began_at),
    ended_at = least(known.ended_at, excluded.ended_at),
    completed_at = coalesce(known.completed_at, excluded.completed_at),
    posted = coalesce(known.posted, excluded.posted),
    refusals = coalesce(known.refusals, excluded.refusals),
    day = coalesce(known.day, excluded.day)

-- name: write_documents
-- A repeat rewrites nothing.
INSERT INTO document AS known (request_id, document_id, signed_at, token_signed_at, posted_at, rejected_at)
SELECT request_id, document_id, signed_at, token_signed_at, posted_at, rejected_at
FROM unnest(
    $1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[]
) AS new (request_id, document_id, signed_at, token_signed_at, posted_at, rejected_at)
ORDER BY request_id, document_id
ON CONFLICT (request_id, document_id) DO UPDATE SET
    signed_at = least(known.signed_at, excluded.signed_at),
    token_signed_at = least(known.token_signed_at, excluded.token_signed_at),
    posted_at = least(known.posted_at, excluded.posted_at),
    rejected_at = least(known.rejected_at, excluded.rejected_at)
WHERE
    (least(known.signed_at, excluded.signed_at), least(known.token_signed_at, excluded.token_signed_at),
    least(known.posted_at, excluded.posted_at), least(known.rejected_at, excluded.rejected_at))
    IS DISTINCT FROM (known.signed_at, known.token_signed_at, known.posted_at, known.rejected_at)

-- name: end_documents
-- What a rejection of the whole request ends, also what came after it. Said so that the index of what is open is not
-- read from end to end for it.
UPDATE document SET rejected_at = request.ended_at
FROM request
WHERE
    request.request_id = ANY ($1::uuid[]) AND request.ended_at IS NOT NULL
    AND document.request_id = request.request_id
    AND coalesce(document.posted_at, document.rejected_at) IS NULL

-- name: tell_unposted
WITH late AS (
    SELECT request_id, document_id, signed_at FROM document
    WHERE signed_at < $1 AND posted_at IS NULL AND rejected_at IS NULL AND told_at IS NULL
    ORDER BY signed_at LIMIT $2
)
UPDATE document SET told_at = now()
FROM late
WHERE document.request_id = late.request_id AND document.document_id = late.document_id
RETURNING late.request_id, late.document_id, late.signed_at AS since

-- name: tell_token_unposted
WITH late AS (
    SELECT request_id, document_id, token_signed_at FROM document
    WHERE token_signed_at < $1 AND posted_at IS NULL AND rejected_at IS NULL AND told_at IS NULL
    ORDER BY token_signed_at LIMIT $2
)
UPDATE document SET told_at = now()
FROM late
WHERE document.request_id = late.request_id AND document.document_id = late.document_id
RETURNING late.request_id, late.document_id, late.token_signed_at AS since

-- name: tell_unsigned
WITH late AS (
    SELECT request_id, document_id, posted_at FROM document
    WHERE posted_at < $1 AND signed_at IS NULL AND token_signed_at IS NULL AND told_at IS NULL
    ORDER BY posted_at LIMIT $2
)
UPDATE document SET told_at = now()
FROM late
WHERE document.request_id = late.request_id AND document.document_id = late.document_id
RETURNING late.request_id, late.document_id, late.posted_at AS since

-- name: answered
UPDATE document SET told_at = NULL
WHERE
    told_at IS NOT NULL
    AND (posted_at IS NOT NULL OR rejected_at IS NOT NULL)
    AND (posted_at IS NULL OR signed_at IS NOT NULL OR token_signed_at IS NOT NULL)
RETURNING request_id, document_id

-- name: still_open
-- Late is what waits since before $1, $2 or $3; untold, what no alarm was raised about.
SELECT
    unposted.late AS unposted, (
        SELECT signed_at FROM document WHERE signed_at > '-infinity' AND posted_at IS NULL AND rejected_at IS NULL
        ORDER BY signed_at LIMIT 1
    ) AS unposted_since,
    token_unposted.late AS token_unposted, (
        SELECT token_signed_at FROM document
        WHERE token_signed_at > '-infinity' AND posted_at IS NULL AND rejected_at IS NULL
        ORDER BY token_signed_at LIMIT 1
    ) AS token_unposted_since,
    unsigned.late AS unsigned, (
        SELECT posted_at FROM document WHERE posted_at > '-infinity' AND signed_at IS NULL AND token_signed_at IS NULL
        ORDER BY posted_at LIMIT 1
    ) AS unsigned_since,
    (
        SELECT began_at FROM request WHERE began_at > '-infinity' AND completed_at IS NULL ORDER BY began_at LIMIT 1
    ) AS request_since,
    unposted.untold + token_unposted.untold + unsigned.untold AS untold
FROM (
    SELECT count(*) AS late, count(*) FILTER (WHERE told_at IS NULL) AS untold
    FROM document WHERE signed_at < $1 AND posted_at IS NULL AND rejected_at IS NULL
) AS unposted, (
    SELECT count(*) AS late, count(*) FILTER (WHERE told_at IS NULL) AS untold
    FROM document WHERE token_signed_at < $2 AND posted_at IS NULL AND rejected_at IS NULL
) AS token_unposted, (
    SELECT count(*) AS late, count(*) FILTER (WHERE told_at IS NULL) AS untold
    FROM document WHERE posted_at < $3 AND signed_at IS NULL AND token_signed_at IS NULL
) AS unsigned

-- name: days
-- The last day that is closed, whether its files are there, and the first day after it that has a request.
SELECT
    closed.day AS closed, closed.files IS NOT NULL AS written,
    (SELECT min(request.day) FROM request WHERE request.day > coalesce(closed.day, '-infinity')) AS next
FROM (SELECT max(day) AS day FROM daily_file) AS last LEFT JOIN daily_file AS closed ON closed.day = last.day

-- name: close_day
INSERT INTO daily_file (day, closed_at) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING

-- name: written
UPDATE daily_file SET files = $2 WHERE day = $1

-- name: callers_before
SELECT jsonb_object_keys(files) AS caller FROM daily_file WHERE day = $1::date - 1

-- name: requests_of_day
SELECT request_id, header, documents, completed_at, posted, refusals FROM request
WHERE day = $1 AND (completed_at, request_id) > ($2, $3)
ORDER BY completed_at, request_id LIMIT $4

-- name: posted_of_request
SELECT document_id, posted_at FROM document WHERE request_id = $1 AND posted_at IS NOT NULL

-- name: mark_pruned
UPDATE daily_file SET pruned_at = $2 WHERE day < $1 AND files IS NOT NULL AND pruned_at IS NULL

-- name: prune
-- A request goes whole, once none of its documents waits for anything and no alarm is raised about one.
WITH settled AS (
    SELECT request_id FROM request
    WHERE
        day <= (SELECT max(daily_file.day) FROM daily_file WHERE pruned_at IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM document
            WHERE
                document.request_id = request.request_id
                AND (
                    told_at IS NOT NULL
                    OR (coalesce(signed_at, token_signed_at) IS NOT NULL AND posted_at IS NULL AND rejected_at IS NULL)
                    OR (posted_at IS NOT NULL AND signed_at IS NULL AND token_signed_at IS NULL)
                )
        )
    ORDER BY day, completed_at, request_id LIMIT $1
), documents AS (
    DELETE FROM document USING settled WHERE document.request_id = settled.request_id RETURNING 1
), requests AS (
    DELETE FROM request USING settled WHERE request.request_id = settled.request_id RETURNING 1
)
SELECT (SELECT count(*) FROM requests) AS requests, (SELECT count(*) FROM documents) AS documents
