-- Caller → hex SHA-256 of its file of this day, once all are there. Before, there was one caller's, by default igfmas's.
ALTER TABLE daily_file ADD COLUMN files jsonb;
UPDATE daily_file SET files = jsonb_build_object('igfmas', encode(sha256, 'hex')) WHERE sha256 IS NOT NULL;
ALTER TABLE daily_file DROP COLUMN sha256;
