-- The total in MYR of the request that a code by e-mail is for, kept while there is a ceiling of the day; else null.
ALTER TABLE code ADD COLUMN total numeric;
