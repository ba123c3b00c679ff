-- Whether a right answer to its request has come: how many are left unanswered is limited.
ALTER TABLE code ADD COLUMN answered boolean NOT NULL DEFAULT false;

-- Whoever was sent a code. The row is locked while another one is reserved, so that two replicas count as one.
-- `answered_at`: the last right answer; `held_until`: no code before then.
CREATE TABLE officer (
    user_id text PRIMARY KEY,
    answered_at timestamptz,
    held_until timestamptz
);
