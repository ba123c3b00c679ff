-- The comments are what libs/storage/grants.py reads: the role that serves may append here, neither change nor delete.
COMMENT ON TABLE record IS 'append-only: a posted document stays what it was';
COMMENT ON TABLE signing_log IS 'append-only: a leaf stays where it is';
COMMENT ON TABLE refusal IS 'append-only: the first outcome counts';
