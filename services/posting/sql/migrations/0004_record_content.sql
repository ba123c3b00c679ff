-- The canonical forms of what is posted together lie together, as outcomes do (content): documents of one request repeat
-- each other's certificate, header and CRLs, and a row of 4.7 KB takes a page of 8.
CREATE TABLE record_content (
    content_id uuid PRIMARY KEY,
    bytes bytea COMPRESSION lz4 NOT NULL
);
ALTER TABLE record_content SET (toast_tuple_target = 8160);
COMMENT ON TABLE record_content IS 'append-only: a posted document stays what it was';

-- Where in the content a record's canonical form starts.
INSERT INTO record_content (content_id, bytes) SELECT record_id, value FROM record;
ALTER TABLE record ADD COLUMN content_id uuid, ADD COLUMN starts integer NOT NULL DEFAULT 0, ADD COLUMN size integer;
UPDATE record SET content_id = record_id, size = octet_length(value);
ALTER TABLE record DROP COLUMN value;
-- A change of type writes the table anew, without the bytes that moved.
ALTER TABLE record
    ALTER COLUMN content_id SET NOT NULL, ALTER COLUMN size SET NOT NULL, ALTER COLUMN starts DROP DEFAULT,
    ALTER COLUMN starts TYPE integer USING starts + 0;

-- A record with its canonical form. Where it has none, since its content is gone or its row points nowhere, an empty one,
-- of which no leaf was made: no row may stop the reading of the others.
CREATE VIEW posted_record AS
SELECT r.*, coalesce(
    CASE
        WHEN r.starts BETWEEN 0 AND 1073741823 AND r.size BETWEEN 0 AND 1073741823
        THEN substring(c.bytes FROM r.starts + 1 FOR r.size)
    END,
    ''::bytea
) AS value
FROM record AS r LEFT JOIN record_content AS c USING (content_id);
