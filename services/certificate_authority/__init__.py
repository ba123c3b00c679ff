"""Issues certificates and CRLs (preparation slides, 7 to 10). The only service that reaches the authorities' HSM token.

Consumes `certificate-requested`, `token-certificate-requested`, `revocation-requested`, `suspension-requested` and
`lifting-requested`; emits certificate states, the keys of callers, registrars and producers, and
`application-refused`; serves the CRLs over HTTP.

Owns: the authorities' keys (in its token), every certificate ever issued with its end, and the CRLs.

Invariants: a certificate's content is recorded before it is signed, so that a repeat gives the same certificate; one
certificate per credential and per key, and one that is not revoked per officer and medium; names come from what two
registrars signed, never from a request; a token's request is the one whose hash they signed; revocation is
final; a suspension takes one registrar and its lifting two; each goes out at once, the CRL follows; CRL numbers only
rise, and a CRL lists whatever a lower number listed, but for what was lifted.
"""
