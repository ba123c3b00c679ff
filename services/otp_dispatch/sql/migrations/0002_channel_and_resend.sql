-- The channel is fixed with the code. `resend` names the ask that a code answers; the first code, number 1, answers none.
ALTER TABLE code ADD COLUMN channel text NOT NULL DEFAULT 'e-mail', ADD COLUMN resend uuid;
CREATE UNIQUE INDEX code_resend ON code (request_id, resend);
