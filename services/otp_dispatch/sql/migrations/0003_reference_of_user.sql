-- Whose code it is: of codes that live at once, an officer is told no two by one reference. Rows of before have no user.
ALTER TABLE code ADD COLUMN user_id text;
CREATE INDEX code_of_user ON code (user_id, reserved_at);
