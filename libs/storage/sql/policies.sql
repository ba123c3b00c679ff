-- name: newest
SELECT version, sha256 FROM settings_policy ORDER BY version DESC LIMIT 1

-- name: remember
INSERT INTO settings_policy (version, sha256) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING
