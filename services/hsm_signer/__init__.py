"""Checks OTP and PIN, signs (slides' steps 8 to 10). The only service that reaches the users' HSM token.

Consumes `authorisation-submitted` (two lanes), `medium-resolved`, `otp-dispatched`, `cancel-requested`,
`key-requested`, `pin-change-submitted`, `pin-unlock-ordered` and the state topics; emits `signed`, `progressed`,
`authorisation-failed`, `rejected`, `cancel-answered`, `waiting`, `certificate-requested`, `pin-answered` and the
sealing keys.

Owns: credentials (wrapped keys), requests and their attempts, reserved documents, sealing keys, orders to unlock, and
the cancels of requests that have not come yet.

Invariants: an attempt is recorded before anything is tried; a PIN is tried only after a right OTP; a request is
authorised once, with all its documents, in one transaction; a key is used only while its certificate is good.
"""
