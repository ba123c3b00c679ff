-- Every submission looks for one with the same event.
CREATE INDEX submission_event_id ON submission (event_id);

-- What carries a sealed PIN is kept no longer than it is needed, whoever published it: the call itself or the sweep.
CREATE FUNCTION forget_published_submissions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM outcome USING published, submission
    WHERE outcome.event_id = published.event_id AND submission.event_id = outcome.cause;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_published_submissions AFTER DELETE ON unpublished
REFERENCING OLD TABLE AS published FOR EACH STATEMENT EXECUTE FUNCTION forget_published_submissions();
