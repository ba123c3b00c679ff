-- name: seen
-- A row without a hash is a cause that left outcomes unpublished.
SELECT id, content_hash, parked FROM inbox WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT DISTINCT cause, NULL::bytea, false FROM unpublished WHERE cause = ANY ($2::uuid[])

-- name: claim
INSERT INTO inbox (id, content_hash)
SELECT * FROM unnest($1::uuid[], $2::bytea[]) AS claimed (id, content_hash) ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: claim_parked
UPDATE inbox SET parked = false WHERE id = ANY ($1::uuid[]) AND parked RETURNING id

-- name: unclaim
DELETE FROM inbox WHERE id = ANY ($1::uuid[])

-- name: unclaim_parked
UPDATE inbox SET parked = true WHERE id = ANY ($1::uuid[])

-- name: record_outcomes
WITH kept AS (
    INSERT INTO content (content_id, bytes) SELECT $1, $2
    WHERE EXISTS (
        SELECT FROM unnest($3::uuid[]) AS new (event_id)
        WHERE NOT EXISTS (SELECT FROM outcome WHERE outcome.event_id = new.event_id)
    )
    RETURNING content_id
),
recorded AS (
    INSERT INTO outcome (event_id, cause, topic, key, starts, value_size, headers_size, content_id)
    SELECT new.*, kept.content_id FROM unnest(
        $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::integer[], $8::integer[], $9::integer[]
    ) AS new CROSS JOIN kept
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id, cause
)
INSERT INTO unpublished (event_id, cause) SELECT event_id, cause FROM recorded RETURNING event_id

-- name: unpublished
SELECT o.event_id, o.topic, o.key, o.value, o.headers
FROM unpublished AS u CROSS JOIN LATERAL (SELECT * FROM recorded WHERE recorded.event_id = u.event_id LIMIT 1) AS o
WHERE u.cause = ANY ($1::uuid[]) OR u.event_id = ANY ($2::uuid[])
ORDER BY o.recorded_at, o.event_id

-- name: mark_published
DELETE FROM unpublished WHERE event_id = ANY ($1::uuid[])

-- name: leftovers
-- LIMIT 1, so that outcomes are looked up: joined, PostgreSQL read all that there ever were.
SELECT o.event_id, o.topic, o.key, o.value, o.headers
FROM unpublished AS u CROSS JOIN LATERAL (SELECT * FROM recorded WHERE recorded.event_id = u.event_id LIMIT 1) AS o
WHERE o.recorded_at < now() - $1::interval
ORDER BY o.recorded_at, o.event_id LIMIT $2

-- name: recorded
SELECT topic, key, value, headers FROM recorded WHERE event_id = ANY ($1::uuid[]) ORDER BY recorded_at, event_id

-- name: park
WITH waits AS (UPDATE inbox SET parked = true WHERE id = $1)
INSERT INTO due (id, what, request_id, at, why, content_hash, key, value, headers, appended_at, partition, "offset")
VALUES ($1, $2, $3, now() + $4::interval, $5, $6, $7, $8, $9, $10, $11, $12)

-- name: park_again
-- A timer that was moved meanwhile keeps the time it was moved to.
UPDATE due SET at = now() + $3::interval, why = $4, tries = tries + 1, leased_until = '-infinity'
WHERE id = $1 AND at = $2

-- name: set_timer
INSERT INTO due (id, what, request_id, at, why, content_hash, key, value, headers, appended_at)
VALUES ($1, $2, $3, $4, 'timer', $5, $6, $7, $8, now())
ON CONFLICT (id) DO UPDATE SET
    at = EXCLUDED.at, value = EXCLUDED.value, headers = EXCLUDED.headers, content_hash = EXCLUDED.content_hash,
    leased_until = CASE WHEN due.at = EXCLUDED.at THEN due.leased_until ELSE '-infinity' END

-- name: claim_due
UPDATE due SET leased_until = now() + $1::interval
WHERE id IN (
    SELECT id FROM due
    WHERE at <= now() AND leased_until <= now() AND what = ANY ($2::text[])
    ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED
)
RETURNING id, what, request_id, why, tries, content_hash, key, value, headers, appended_at,
    created_at, now() AS now, at, leased_until, partition, "offset"

-- name: renew_due
-- Here and in the two below what is locked is skipped: a recording, ours or a twin's, decides about it. These write
-- several rows: to hold one of them and wait for a recording, which waits for that one, would be a deadlock.
UPDATE due SET leased_until = now() + $3::interval
WHERE id IN (SELECT id FROM due WHERE id = ANY ($1::uuid[]) AND leased_until = $2 FOR UPDATE SKIP LOCKED)
RETURNING leased_until

-- name: release_due
-- Only while the lease is still the one that was taken.
UPDATE due SET leased_until = now() + $3::interval
WHERE id IN (SELECT id FROM due WHERE id = ANY ($1::uuid[]) AND leased_until = $2 FOR UPDATE SKIP LOCKED)

-- name: finish_due
-- A timer that was moved while it fired, or a record that a twin parked again, stays.
DELETE FROM due WHERE id IN (
    SELECT due.id FROM due JOIN unnest($1::uuid[], $2::timestamptz[]) AS done (id, at)
        ON due.id = done.id AND due.at = done.at
    FOR UPDATE OF due SKIP LOCKED
)

-- name: bury_parked
WITH freed AS (DELETE FROM inbox WHERE id = ANY ($1::uuid[]))
DELETE FROM due WHERE id = ANY ($1::uuid[])
