-- A sealing key has a key of its own in the HSM from now on; the one that all had is given up, and they with it. What was
-- sealed to them is refused as expired, and not counted.
UPDATE sealing_key SET private_key = NULL, destroyed_at = now(), retired_at = coalesce(retired_at, now())
WHERE destroyed_at IS NULL;
