"""Is the signature good, and was no certificate on its path revoked (slides' steps 11 and 12).

Consumes `signed`, `token-signed`, `medium-resolved` and `cancel-requested` (of token requests), and the state of users
and certificates; emits `verified` and `rejected` per document, `progressed` per slice, `cancel-answered`, and
`waiting` for a CRL.

Owns: the last good CRL of each authority, with its number; token requests until their end, with their documents.

Invariants: "no", "cannot tell" and "could not ask" are three answers; without a current CRL a document is parked, never
refused and never verified; a CRL is believed by its signature, and never one older than one seen; a certificate's state
counts at once, whatever the CRL says; validity is judged at the broker's time, never at signingTime. Of a token
request: a signature counts only under exactly its root, by the certificate that is its officer's now; the first outcome
of a document counts; what nobody has signed 8 h after `medium-resolved` is rejected.
"""
