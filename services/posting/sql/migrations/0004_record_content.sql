-- The canonical forms of what is posted together lie together, as outcomes do (content): documents of one request repeat
-- each other's certificate, header and CRLs, and a row of 4.7 KB takes a page of 8.
CREATE TABLE record_content (
    content_id uuid PRIMARY KEY,
    bytes bytea COMPRESSION lz4 NOT NULL
);
ALTER TABLE record_content SET (toast_tuple_target = 8160);
COMMENT ON TABLE record_content IS 'append-only: a posted document stays what it was';

-- Where in the content a record's canonical form starts.
ALTER TABLE record ADD COLUMN content_id uuid, ADD COLUMN starts integer, ADD COLUMN size integer;
INSERT INTO record_content (content_id, bytes) SELECT record_id, value FROM record;
UPDATE record SET content_id = record_id, starts = 0, size = octet_length(value);
ALTER TABLE record
    ALTER COLUMN content_id SET NOT NULL, ALTER COLUMN starts SET NOT NULL, ALTER COLUMN size SET NOT NULL,
    DROP COLUMN value;

-- A record with its canonical form; where its content is gone, an empty one, of which no leaf was made.
CREATE VIEW posted_record AS
SELECT r.*, coalesce(substring(c.bytes FROM r.starts + 1 FOR r.size), ''::bytea) AS value
FROM record AS r LEFT JOIN record_content AS c USING (content_id);
