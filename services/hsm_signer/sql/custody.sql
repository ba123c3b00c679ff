-- name: know
INSERT INTO custody_key (label)
SELECT label FROM unnest($1::text[]) AS asked (label)
WHERE NOT EXISTS (SELECT FROM destroyed_key WHERE destroyed_key.label = asked.label)
ON CONFLICT (label) DO NOTHING

-- name: destroyed
SELECT label FROM destroyed_key WHERE label = ANY ($1::text[]) ORDER BY label

-- name: in_use
SELECT (SELECT count(*) FROM credential WHERE wrapping_key = $1) + (SELECT count(*) FROM credential WHERE pepper = $1)

-- name: forget
DELETE FROM custody_key WHERE label = $1

-- name: keep_destroyed
INSERT INTO destroyed_key (label) VALUES ($1) ON CONFLICT (label) DO NOTHING
