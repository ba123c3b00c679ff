"""iGFMAS as it would integrate: the headless reference client, and the demonstration that plays its officers.

Emits `requested`, `application-submitted` and a registrar's orders; follows the chain's topics to its end; gives the
sealed PIN and OTP to the gateway over HTTP. Owns three private keys (caller `igfmas`; registrars `mygpki` and
`mygpki-pengesah`, two people whom it plays) and the
documents' bytes, which the platform never holds. Has no database.

Invariants: a document id is never used for other bytes; PIN and OTP leave `libs.gpki_client` sealed or not at all,
and only to a key that the pinned service root vouches for; what happened is what was seen on Kafka, never what was
meant to happen.
"""
