"""Makes, binds and delivers the one-time password (slides' steps 6 and 7), to GPKI Mobile or by e-mail.

Consumes `medium-resolved`, `resend-requested`, what became of codes (`progressed`, `authorisation-failed`, `not-me`)
and the state topics of users and keys; emits `otp-dispatched`,
`resend-answered`, `waiting`, or `rejected` for what it cannot deliver.

Owns: codes (channel, reference code, Message-ID, and until it is recorded the code itself, encrypted under a key of its
own).

Invariants: a request has at most one code per number, and three numbers, fixed before anything is sent: a replay sends
the same code by the same channel, and after it was recorded none. From then on the code is nowhere but in the mail, or
in a message that only the officer's device can open, and, as an HMAC, in the challenge that only the signer can open.
The message is computed from the manifest whose caller's signature was checked here again; address and device come from
this service's own copy of the users. A resend ends nothing.
"""
