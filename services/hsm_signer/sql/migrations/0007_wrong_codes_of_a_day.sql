-- Wrong codes alone are in it: what is right writes nothing here.
CREATE INDEX attempt_wrong_otp ON attempt (credential_id, taken_at) WHERE state = 'wrong-otp';
