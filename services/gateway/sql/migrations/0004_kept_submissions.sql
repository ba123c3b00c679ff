-- What carries no sealed PIN stays in the ledger, as in every other: what its topic lost can be published again.
ALTER TABLE submission ADD COLUMN sealed boolean NOT NULL DEFAULT true;

CREATE OR REPLACE FUNCTION forget_published_submissions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM outcome USING published, submission
    WHERE outcome.event_id = published.event_id AND submission.event_id = outcome.cause AND submission.sealed;
    RETURN NULL;
END
$$;
