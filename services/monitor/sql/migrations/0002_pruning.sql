-- Since when what is settled of this day may be gone: what comes of it from then on is a repeat of what was there.
ALTER TABLE daily_file ADD COLUMN pruned_at timestamptz;
