-- What a token signed and nothing has answered; what the HSM signs is not in it.
CREATE INDEX document_token_unposted ON document (token_signed_at)
WHERE token_signed_at IS NOT NULL AND posted_at IS NULL AND rejected_at IS NULL;
