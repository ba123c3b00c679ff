-- name: lock_officer
-- The update changes nothing, but takes the row lock where a plain insert would take none.
INSERT INTO officer (user_id, version, name, email, office, live, medium) VALUES ($1, 0, $2, $3, $4, false, $5)
ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.user_id
RETURNING user_id, version, name, email, office, credential_id, live, medium, device

-- name: put_officer
UPDATE officer SET version = $2, name = $3, email = $4, office = $5, credential_id = $6, live = $7, medium = $8 WHERE user_id = $1

-- name: application_content
SELECT content FROM application WHERE application = $1

-- name: put_application
INSERT INTO application (application, credential_id, user_id, content) VALUES ($1, $2, $3, $4)

-- name: application_of_credential
SELECT content FROM application WHERE credential_id = $1

-- name: see_certificate
UPDATE application SET certificate_version = $2
FROM (SELECT certificate_version AS before FROM application WHERE credential_id = $1) AS seen
WHERE credential_id = $1 AND certificate_version < $2
RETURNING before
