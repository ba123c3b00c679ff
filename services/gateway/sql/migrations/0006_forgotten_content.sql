-- The sealed PIN lies in the content. The gateway records one outcome at a time: no other lies in the same.
CREATE OR REPLACE FUNCTION forget_published_submissions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    WITH forgotten AS (
        DELETE FROM outcome USING published, submission
        WHERE outcome.event_id = published.event_id AND submission.event_id = outcome.cause AND submission.sealed
        RETURNING outcome.content_id
    )
    DELETE FROM content USING forgotten WHERE content.content_id = forgotten.content_id;
    RETURN NULL;
END
$$;
