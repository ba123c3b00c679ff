-- Where an officer's key is. One live certificate per officer and medium: who moves to the other medium has both for a
-- moment, and the officer's credential says which of them may sign.
ALTER TABLE certificate ADD COLUMN medium text CHECK (medium IN ('roaming-otp', 'token'));
UPDATE certificate SET medium = 'roaming-otp' WHERE profile = 'officer';
ALTER TABLE certificate ADD CHECK ((profile = 'officer') = (medium IS NOT NULL));
DROP INDEX certificate_one_live_per_officer;
CREATE UNIQUE INDEX certificate_one_live_per_officer ON certificate (serial_number, medium)
WHERE profile = 'officer' AND ended_at IS NULL;
