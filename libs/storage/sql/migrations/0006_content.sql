-- The bytes of what was recorded together lie together: documents of one request repeat each other's certificate and
-- header, and a row of 5 KB takes a page of 8. LZ4 because PostgreSQL's own compression costs more than what is saved.
CREATE TABLE content (
    content_id uuid PRIMARY KEY,
    bytes bytea COMPRESSION lz4 NOT NULL
);
ALTER TABLE content SET (toast_tuple_target = 8160);
COMMENT ON TABLE content IS 'append-only: what was decided is published again as it was';

-- Where in the content an outcome's value starts; its headers follow it.
ALTER TABLE outcome
    ADD COLUMN content_id uuid, ADD COLUMN starts integer, ADD COLUMN value_size integer, ADD COLUMN headers_size integer;
INSERT INTO content (content_id, bytes) SELECT event_id, value || convert_to(headers, 'UTF8') FROM outcome;
UPDATE outcome SET
    content_id = event_id, starts = 0, value_size = octet_length(value), headers_size = octet_length(headers);
ALTER TABLE outcome
    ALTER COLUMN content_id SET NOT NULL, ALTER COLUMN starts SET NOT NULL, ALTER COLUMN value_size SET NOT NULL,
    ALTER COLUMN headers_size SET NOT NULL, DROP COLUMN value, DROP COLUMN headers;

-- An outcome with its bytes.
CREATE VIEW recorded AS
SELECT
    o.event_id, o.cause, o.topic, o.key, o.recorded_at,
    substring(c.bytes FROM o.starts + 1 FOR o.value_size) AS value,
    convert_from(substring(c.bytes FROM o.starts + o.value_size + 1 FOR o.headers_size), 'UTF8') AS headers
FROM outcome AS o JOIN content AS c USING (content_id);
