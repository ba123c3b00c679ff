-- name: known_up_to
SELECT topic, partition, next_offset FROM history WHERE topic = ANY ($1::text[])

-- name: move_on
INSERT INTO history (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS seen (topic, partition, next_offset)
ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = greatest(history.next_offset, EXCLUDED.next_offset)

-- name: begin_anew
INSERT INTO history (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS seen (topic, partition, next_offset)
ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset

-- name: recorded
SELECT event_id AS id FROM outcome WHERE event_id = ANY ($1::uuid[])

-- name: handled
SELECT id FROM inbox WHERE id = ANY ($1::uuid[])
