-- Requests that were judged here. `end_reason` is why one ended; without it hsm_signer has it now. Whose it is stands
-- here only if its header says it rightly.
CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    caller text,
    user_id text,
    end_reason text
);
