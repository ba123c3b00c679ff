-- name: lock_registered
SELECT user_id, version, name, email, office, credential_id, live, medium, device FROM officer WHERE user_id = $1 FOR UPDATE

-- name: put_device
UPDATE officer SET version = $2, device = $3 WHERE user_id = $1

-- name: registration_content
SELECT content FROM device_registration WHERE registration = $1

-- name: put_registration
INSERT INTO device_registration (registration, user_id, content) VALUES ($1, $2, $3)
