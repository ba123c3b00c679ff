"""The GPKI API: HTTP in, status and timeline of every request out; the only inbound HTTP door.

Consumes `requested` (outsiders; for progress only), `medium-resolved`, `otp-dispatched`, `authorisation-failed`,
`progressed`, `rejected`, `waiting`, `cancel-answered`, `resend-answered`, `completed` and the state of users,
certificates and keys; emits `requested`, `authorisation-submitted`, `token-signed`, `cancel-requested` and
`resend-requested`.

    POST /v1/signings                                 start a signing, with `Idempotency-Key`; answers 202
    GET  /v1/users/{user}/medium                      what the token's own user signs with
    GET  /v1/sealing-key                              the newest sealing key with its certificate chain
    GET  /v1/signings/{request_id}                    status
    GET  /v1/signings/{request_id}/events             the timeline, live: server-sent events, `Last-Event-ID` goes on
    POST /v1/signings/{request_id}/authorisations     sealed PIN + OTP, with `Idempotency-Key`; answers 202
    POST /v1/signings/{request_id}/token-signatures   what the officer's own token signed, with `Idempotency-Key`; 202
    POST /v1/signings/{request_id}/cancellation       take it back, with `Idempotency-Key`; answers 202

`docs/openapi.yaml` describes them (`python -m services.gateway.openapi`).

Every call carries `Authorization: Bearer <JWT>` made by the caller for this one call (RFC 7519): header `kid` = key id
of the caller's registered key, `alg` = EdDSA, ES256 or RS256 by the kind of that key; claims `iss` = caller, `sub` =
user, `aud` = "gpki-gateway", `exp` at most 60 s ahead, `jti` never used before. Errors are problem details (RFC 9457).

Owns: requests with their counts, the timeline (`seq` per request), manifests and challenges of requests, what was
promised by idempotency key, JWTs that were used.

Invariants: an id is never a credential: another caller or user is told 404; what a call publishes is stored before it
is published, and answered only after; the status does not depend on the order in which events arrive; PIN and OTP are
never seen here, only sealed; a request is judged here as medium_lookup judges it, and marked with its content before
it is published; a stream tells each row once and in order, whichever replicas its client comes back to.
"""
