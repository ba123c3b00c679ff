-- What may be told of custody: which credential is under which key, and at what cost; nothing of the key itself.
CREATE VIEW custody AS
SELECT credential_id, user_id, wrapping_key, pepper, wrapped IS NOT NULL AS holds_a_key, memory_kib, iterations, parallelism
FROM credential;
