-- name: state
SELECT size, peaks, note, posted_offsets, checkpoint_offset FROM witness WHERE origin = $1

-- name: move
-- Upon the state that the caller began with, or not at all: a twin may have moved on.
INSERT INTO witness (origin, size, peaks, note, posted_offsets, checkpoint_offset)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (origin) DO UPDATE SET
    size = excluded.size,
    peaks = excluded.peaks,
    note = excluded.note,
    posted_offsets = excluded.posted_offsets,
    checkpoint_offset = excluded.checkpoint_offset
WHERE witness.size = $7
RETURNING size

-- name: keep_root
INSERT INTO countersigned (size, root, note) VALUES ($1, $2, $3)

-- name: root_of
SELECT root FROM countersigned WHERE size = $1

-- name: add_beginning
INSERT INTO witness_beginning (origin, size, root, previous, previous_root, reason, by, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: beginning_at
SELECT size, root, previous, previous_root, reason, by, at FROM witness_beginning WHERE origin = $1 AND size = $2

-- name: was_away
SELECT EXISTS (SELECT FROM witness_beginning WHERE origin = $1 AND previous < $2 AND $2 < size)
