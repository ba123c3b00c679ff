-- A document's row is written twice: with room in its page, the second time touches no index.
ALTER TABLE document SET (fillfactor = 45);
