-- name: last
SELECT size, root FROM checkpoint ORDER BY size DESC LIMIT 1

-- name: size
-- Positions have no gap: an append takes the next ones under the log's lock, which is held until it is committed.
SELECT coalesce(max(position), -1) + 1 FROM signing_log

-- name: leaves
SELECT position, leaf_hash FROM signing_log WHERE position >= $1 AND position < $2

-- name: nodes
-- Of one level, from an index on.
SELECT index, hash FROM log_node WHERE level = $1 AND index >= $2

-- name: add_nodes
INSERT INTO log_node (level, index, hash)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
ON CONFLICT (level, index) DO NOTHING

-- name: add_checkpoint
INSERT INTO checkpoint (size, previous, root, note) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING size
