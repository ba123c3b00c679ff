-- A request that is refused because nobody knows its credential ends all the same, and an end is a row.
ALTER TABLE request ALTER COLUMN credential_id DROP NOT NULL;
