-- Which of the HSM's keys a user's key is under: each can be replaced, and the old one goes when nothing is under it.
ALTER TABLE credential ADD COLUMN wrapping_key text NOT NULL DEFAULT 'user-wrapping-1';
ALTER TABLE credential ADD COLUMN pepper text NOT NULL DEFAULT 'pin-pepper-1';
ALTER TABLE credential ALTER COLUMN wrapping_key DROP DEFAULT;
ALTER TABLE credential ALTER COLUMN pepper DROP DEFAULT;
