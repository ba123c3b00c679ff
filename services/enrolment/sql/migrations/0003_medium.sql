-- Where the key of the officer's credential is. An application's own medium follows from its content.
ALTER TABLE officer ADD COLUMN medium text NOT NULL DEFAULT 'roaming-otp' CHECK (medium IN ('roaming-otp', 'token'));
ALTER TABLE officer ALTER COLUMN medium DROP DEFAULT;
