-- The comment is what libs/storage/grants.py reads: the role that serves may append here, neither change nor delete.
COMMENT ON TABLE timeline IS 'append-only: what was told stays told';

-- Who serves may not delete what was decided; that a sealed PIN is forgotten once it is published is the owner's rule,
-- and the owner's deed. FROM CURRENT: in this schema, wherever the caller looks for tables.
ALTER FUNCTION forget_published_submissions() SECURITY DEFINER SET search_path FROM CURRENT;
