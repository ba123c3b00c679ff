-- Where an officer's codes go and went, per channel: `value` is a mailbox's address, or a device as JSON. `since` and
-- `until` are the broker's times of the states of `gpki.user.v1` that brought it and took it away; no code goes there
-- before `works_from`. An officer of whom nothing changed since before this table has no row.
CREATE TABLE place (
    user_id text NOT NULL,
    channel text NOT NULL,
    version bigint NOT NULL,
    value text NOT NULL,
    since timestamptz NOT NULL,
    works_from timestamptz NOT NULL,
    until timestamptz,
    PRIMARY KEY (user_id, channel, version)
);

-- What an officer is told of a change, one row a mailbox; fixed before it is sent, so that it is the same mail each time.
-- `answer` is what became of it: delivered, refused, given up; null while it is under way.
CREATE TABLE notice (
    notice_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    address text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    message_id text NOT NULL,
    made_at timestamptz NOT NULL,
    answer text,
    answered_at timestamptz
);
