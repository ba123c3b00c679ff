"""Posts each document once and keeps the signing log (slides' steps 13 and 14).

Consumes `verified`, `rejected` (its own too) and the certificates' state; emits `posted` and `rejected` per document,
`progressed` per slice, and `completed` per request; of the signing log, every few seconds, `checkpoint` and `tile`.

Owns: records (header, entry, signing information), the signing log with its tree and checkpoints, the log's key in an
HSM token of its own, refusals, requests with their counts.

Invariants: a document of a system is posted once per action; a `peraku` only upon a posted `sah` of the same content by
another user; the log has no gap and no record twice; the first terminal outcome of a document counts, and a request is
completed once, when every document has one; each checkpoint is signed upon the one before.
"""
