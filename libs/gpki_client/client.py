"""The GPKI API of one caller: start, follow, authorise, resend, cancel, and a token's signatures."""

import asyncio
import base64
import re
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Literal, Self
from uuid import UUID, uuid4

import httpx

from . import transport
from .answers import (
    Accepted,
    CancelAccepted,
    Event,
    Medium,
    OfferedKey,
    ResendAccepted,
    SignaturesAccepted,
    Started,
    Status,
    parsed,
    read,
)
from .caller import Caller
from .clock import Clock, utc_now
from .errors import AnswerError, GpkiUnavailable, Problem
from .manifest import Manifest
from .sealing import SealingKey

SEALING_KEY_AGE: Final = timedelta(minutes=10)
"""After this long the key is asked for again: it changes daily."""

MAX_TOKEN_SIGNATURES: Final = 500

APPEARS_WITHIN: Final = 15.0
"""Seconds in which a request that was just published may be unknown to the API still."""

COME_BACK: Final = 2.0
"""Seconds before a stream that the server ended in good order is asked for again."""

COMPLETED: Final = "completed"

_SEQ: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

Channel = Literal["gpki-mobile", "e-mail"]


class GpkiClient:
    """Calls on behalf of officers. Enter it once; any number of calls at a time, on one event loop.

    Every call raises Problem for a refusal, GpkiUnavailable when the API could not be asked, AnswerError for an answer
    of another form. A call that was not answered is made again under the same Idempotency-Key: its effect happens once.
    """

    def __init__(
        self,
        url: str,
        caller: Caller,
        *,
        service_root: bytes,
        tls: ssl.SSLContext,
        language: Literal["ms", "en"] = "ms",
        clock: Clock = utc_now,
        http_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`service_root` is the pinned `service_root.pem`, as it was handed over; never one from the network.

        `tls` (`tls_context`) shows the certificate of the caller's key: over another connection no call is admitted.
        """
        self._transport = transport.Transport(
            url, self._assertion, tls=tls, language=language, transport=http_transport
        )
        self._caller = caller
        self._service_root = service_root
        self._clock = clock
        self._sealing: tuple[datetime, SealingKey] | None = None
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._transport.http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.http.__aexit__(kind, error, trace)

    async def sealing_key(self, user: str) -> SealingKey:
        """The signer's key of the day, judged. Raises also SealingError, CertificateError."""
        async with self._asking:
            now = self._clock()
            if self._sealing is None or now - self._sealing[0] > SEALING_KEY_AGE:
                offered = read(OfferedKey, await self._transport.call("GET", "/v1/sealing-key", user))
                key = SealingKey.judge(offered.key_id, offered.chain, service_root=self._service_root, at=now)
                self._sealing = now, key
            return self._sealing[1]

    async def medium(self, user: str) -> Medium:
        """With what this officer signs now."""
        return read(Medium, await self._transport.call("GET", f"/v1/users/{user}/medium", user))

    async def start(self, manifest: Manifest) -> Started:
        """Ask for the signing. The same manifest again is the same request; another under its id is `id-conflict`."""
        root = await asyncio.to_thread(lambda: manifest.root)
        body = {
            "manifest": manifest.as_json(),
            "caller_key": self._caller.key_id,
            "signature": base64_text(self._caller.sign_root(root)),
        }
        key = str(manifest.request_id)
        started = read(Started, await self._transport.call("POST", "/v1/signings", manifest.user, body=body, key=key))
        if (started.request_id, started.root) != (manifest.request_id, root.hex()):
            raise AnswerError("the platform computed another request or root")
        return started

    async def status(self, request_id: UUID, user: str) -> Status:
        """Everything that is known now; 404 also for a request of others."""
        return read(Status, await self._transport.call("GET", f"/v1/signings/{request_id}", user))

    async def follow(self, request_id: UUID, user: str, *, after: int = 0) -> AsyncGenerator[Event, None]:
        """Each event of the timeline after `after`, once and in order; ends after `completed`.

        A connection that breaks is made again. There is no bound on how long an officer may take: put
        `asyncio.timeout` around it, or leave it with `contextlib.aclosing`.
        """
        path = f"/v1/signings/{request_id}/events"
        failures, deadline = 0, time.monotonic() + APPEARS_WITHIN
        while True:
            try:
                async with aclosing(self._transport.stream(path, user, after)) as messages:
                    async for message in messages:
                        failures = 0
                        event = _event(message)
                        if event.seq > after:
                            after = event.seq
                            yield event
                        if event.kind == COMPLETED:
                            return
                failures = 0
                await transport.pause(0, COME_BACK)
            except transport.EndOfStory:
                return
            except Problem as problem:
                if problem.status != httpx.codes.NOT_FOUND or after or time.monotonic() > deadline:
                    raise
                await transport.pause(0)
            except transport.Again as error:
                failures += 1
                if failures == transport.STREAM_TRIES:
                    raise GpkiUnavailable(f"GET {path}: {error}") from None
                await transport.pause(failures, error.wait)

    async def authorise(
        self, request_id: UUID, user: str, *, root: bytes, pin: str, otp: str, idempotency_key: str | None = None
    ) -> Accepted:
        """Seal PIN and OTP to the signer, for this request and root, and hand them in. Raises also SecretsError.

        `root` is the one that you computed from what the officer saw (`Manifest.root`).
        """
        key = await self.sealing_key(user)
        sealed = key.seal_authorisation(pin=pin, otp=otp, request_id=request_id, root=root)
        body = {"sealing_key_id": key.key_id, "sealed": base64_text(sealed)}
        path = f"/v1/signings/{request_id}/authorisations"
        return read(Accepted, await self._transport.call("POST", path, user, body=body, key=_key(idempotency_key)))

    async def resend(
        self, request_id: UUID, user: str, *, channel: Channel | None = None, idempotency_key: str | None = None
    ) -> UUID:
        """Ask for another code, by this channel or the officer's own choice; returns the ask's name in the status."""
        path = f"/v1/signings/{request_id}/otp-resends"
        key = _key(idempotency_key)
        answer = await self._transport.call("POST", path, user, body={"channel": channel}, key=key)
        return read(ResendAccepted, answer).resend

    async def cancel(self, request_id: UUID, user: str, *, idempotency_key: str | None = None) -> UUID:
        """Take a request back; returns the ask's name in the status."""
        path = f"/v1/signings/{request_id}/cancellation"
        answer = await self._transport.call("POST", path, user, key=_key(idempotency_key))
        return read(CancelAccepted, answer).cancellation

    async def token_signatures(
        self, request_id: UUID, user: str, signatures: Mapping[str, bytes], *, idempotency_key: str | None = None
    ) -> int:
        """Hand in CMS by document id, 1 to 500 at a time; returns how many were taken. Raises also ValueError."""
        if not 1 <= len(signatures) <= MAX_TOKEN_SIGNATURES:
            raise ValueError(f"1 to {MAX_TOKEN_SIGNATURES} signatures at a time")
        body = {"signatures": [{"document": name, "cms": base64_text(cms)} for name, cms in signatures.items()]}
        path = f"/v1/signings/{request_id}/token-signatures"
        answer = await self._transport.call("POST", path, user, body=body, key=_key(idempotency_key))
        return read(SignaturesAccepted, answer).accepted

    def _assertion(self, user: str) -> str:
        return self._caller.assertion(user, at=self._clock())


def _event(message: transport.Message) -> Event:
    told = parsed(message.data, "an event of a stream")
    if not _SEQ.fullmatch(message.id) or not isinstance(told, dict):
        raise AnswerError("an event of a stream is not of the agreed form")
    return read(Event, {**told, "seq": int(message.id), "kind": message.event})


def _key(given: str | None) -> str:
    return given or uuid4().hex


def base64_text(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")
