-- The only offices that a caller may name; none named, all.
ALTER TABLE certificate ADD COLUMN offices text[] NOT NULL DEFAULT '{}' CHECK (offices = '{}' OR profile = 'caller');
