-- Orders to unlock that were followed: each gives its tries once.
CREATE TABLE pin_unlock (
    unlock uuid PRIMARY KEY,
    credential_id uuid NOT NULL,
    unlocked_at timestamptz NOT NULL DEFAULT now()
);
