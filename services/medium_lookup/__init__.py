"""Finds which medium a user signs with (slides' steps 3 to 5).

Consumes `requested`, which outsiders write, `cancel-requested`, and the state topics of users, certificates and keys;
emits `medium-resolved`, or `rejected` for what a caller can cause, and `cancel-answered` for what ended here.

Owns which requests it has judged, and the cancels of those that have not come yet.

Invariants: nothing in a request is believed, or answered, before its caller's signature over the root of the manifest
as received holds: a forged request goes to the dead letter and ends nothing. Until `medium-resolved` is recorded, only
this service ends a request.
"""
