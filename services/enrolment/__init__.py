"""Registers officers and leads an application to its certificate (preparation slides, 1 to 10).

Consumes `application-submitted`, `token-application-submitted`, `device-registration-submitted`, certificate states and
`gpki.keys.v1`; emits user states, `key-requested`, `token-certificate-requested` and `application-refused`.

Owns: officers with the version of their state and their device, applications, and registrations of devices.

Invariants: only what two registrars signed changes an officer; the version of an officer's state rises by one under the
officer's row lock; the sealed PIN passes through unopened; an officer who has a certificate that is not revoked gets
no second one of its medium here (that takes two people), and one of the other medium takes its place; a revoked
credential stays the officer's, so that the answer is "certificate revoked" and not "no certificate".
"""
