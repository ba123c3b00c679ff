"""Watches the chain and touches nothing of it: is everything signed also posted, and everything posted signed?

Consumes `medium-resolved`, `signed`, `token-signed`, `posted`, `rejected`, `completed` and `checkpoint`; emits
`countersigned`, as the signing log's witness, and nothing else.

Owns: what it has heard of each document and each request, the days whose file is written, and how far it has
countersigned.

Invariants: a document that is signed, by the HSM or by a token, and neither posted nor rejected, or posted and never
signed, is an alarm with an age, and nothing else is; what is written is a union of events, so that order and repeats
change nothing; a document stands in the file of one day, and a file that is there never changes.
"""
