-- name: lock_users
-- In the order of users, so that two never deadlock. Whoever is new has no row to lock, and nothing that could change.
SELECT value FROM user_state WHERE user_id = ANY ($1::text[]) ORDER BY user_id FOR UPDATE

-- name: places
SELECT user_id, channel, version, value, since, works_from, until
FROM place WHERE user_id = ANY ($1::text[]) ORDER BY user_id, version

-- name: put_place
INSERT INTO place (user_id, channel, version, value, since, works_from, until) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (user_id, channel, version) DO UPDATE SET until = excluded.until

-- name: begun
-- Who was sent a code, or was to be.
SELECT user_id FROM officer WHERE user_id = ANY ($1::text[])
