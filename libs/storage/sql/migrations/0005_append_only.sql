-- The comment is what grants.py reads: the role that serves may append here, and neither change nor delete.
COMMENT ON TABLE outcome IS 'append-only: what was decided is published again as it was';
