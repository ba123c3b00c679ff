"""The signing desk of iGFMAS: what happens between pressing `sah` or `peraku` and the end of the request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID, uuid4

from libs.contracts import topics
from libs.contracts.enrolment import credential_id_of
from libs.contracts.manifest import Action, Manifest
from libs.contracts.state import Certificate
from libs.crypto.pki import distinguished_name
from libs.gpki_client import Caller, Dispatch, GpkiClient, Problem, SealingKey
from libs.gpki_client import Manifest as SdkManifest
from libs.gpki_client.device import Device
from libs.gpki_client.token import OfficerToken
from libs.runtime.clock import Clock
from services.igfmas.chain import Chain, NotInTime
from services.igfmas.documents import Paper, manifest_of, request_of
from services.igfmas.enrolment import (
    Officer,
    Registrars,
    device_registration_of,
    lifting_of,
    revocation_of,
    suspension_of,
    token_application_of,
)
from services.igfmas.observation import RequestSeen

STEP_SECONDS: Final = 60.0
"""Bound on one step of one request, beside DOCUMENT_SECONDS for each of its documents."""

DOCUMENT_SECONDS: Final = 0.2

STATUS_EVERY: Final = 0.005, 0.03
"""Seconds between two looks at the status, while the gateway is behind Kafka: at first, and at most."""

T = TypeVar("T")


class Refused(Exception):
    """An application, or the platform itself, did not come to what it should; the text says which and why."""


@dataclass(frozen=True)
class Pressed:
    """A request that was published: what the officer pressed, and the root of what the officer saw."""

    seen: RequestSeen
    user: str
    root: bytes
    manifest: Manifest

    @property
    def request_id(self) -> UUID:
        """Its id everywhere in the platform."""
        return self.seen.request_id


class Desk:
    """iGFMAS's side of enrolment and signing. Any number of requests at once, on one event loop."""

    def __init__(
        self, chain: Chain, gateway: GpkiClient, *, caller: Caller, registrars: Registrars, clock: Clock
    ) -> None:
        self._chain = chain
        self._gateway = gateway
        self._caller = caller
        self._registrars = registrars
        self._clock = clock

    async def await_keys(self) -> None:
        """Return when the platform has published our certificates. Raises NotInTime."""
        people = self._registrars
        ids = {self._caller.key_id, people.registering.key_id, people.validating.key_id}
        await self._chain.wait(lambda: ids <= self._chain.keys.keys(), "our keys on gpki.keys.v1", seconds=STEP_SECONDS)

    async def enrol(self, officer: Officer) -> Certificate:
        """Apply for the officer and return the certificate. Raises Refused, NotInTime."""
        application = officer.application_submitted(self._registrars, await self._sealing_key(officer.user))
        await self._chain.send(topics.APPLICATION_SUBMITTED, application)
        return await self._certificate(officer, officer.credential_id)

    async def enrol_token(self, officer: Officer, token: OfficerToken) -> Certificate:
        """The same for the key of the officer's own token. Raises Refused, NotInTime, TokenError."""
        csr = await token.certification_request(distinguished_name(officer.name))
        application = token_application_of(officer, csr, self._registrars)
        await self._chain.send(topics.TOKEN_APPLICATION_SUBMITTED, application)
        return await self._certificate(officer, credential_id_of(application.signed.application))

    async def _certificate(self, officer: Officer, wanted: UUID) -> Certificate:
        chain = self._chain

        def known() -> bool:
            user = chain.users.get(officer.user)
            certified = user is not None and user.credential_id == wanted and wanted in chain.certificates
            return certified or officer.application in chain.refused

        await chain.wait(known, f"the certificate of {officer.name}", seconds=STEP_SECONDS)
        refusal = chain.refused.get(officer.application)
        if refusal is not None:
            raise Refused(f"{officer.name}: {refusal.stage} refused the application: {refusal.detail}")
        return chain.certificates[wanted]

    async def register(self, officer: Officer, device: Device) -> None:
        """Have the officer's GPKI Mobile confirmed, and return when it is known. Raises NotInTime."""
        event = device_registration_of(officer.user, device, self._registrars, registration=uuid4())
        await self._chain.send(topics.DEVICE_REGISTRATION_SUBMITTED, event)
        users = self._chain.users

        def known() -> bool:
            found = users[officer.user].device
            return found is not None and found.device_id == device.device_id

        await self._chain.wait(known, f"the device of {officer.name}", seconds=STEP_SECONDS)

    async def revoke(self, officer: Officer) -> None:
        """Order the revocation, and return when it is known. Raises NotInTime."""
        order = revocation_of(
            officer.credential_id,
            self._registrars.registering,
            revocation=uuid4(),
            ordered_at=self._clock().replace(microsecond=0),
        )
        await self._chain.send(topics.REVOCATION_REQUESTED, order)
        certificates = self._chain.certificates
        await self._chain.wait(
            lambda: certificates[officer.credential_id].status == "revoked",
            f"revocation of {officer.name}'s certificate",
            seconds=STEP_SECONDS,
        )

    async def suspend(self, officer: Officer) -> None:
        """Order the suspension, and return when it is known. Raises NotInTime."""
        before = self._chain.certificates[officer.credential_id]
        order = suspension_of(
            officer.credential_id,
            self._registrars.registering,
            suspension=uuid4(),
            ordered_at=self._clock().replace(microsecond=0),
        )
        await self._chain.send(topics.SUSPENSION_REQUESTED, order)
        await self._newer(before, f"suspension of {officer.name}'s certificate")

    async def lift(self, officer: Officer) -> None:
        """Order that the suspension is lifted, and return when it is known. Raises NotInTime."""
        suspended = self._chain.certificates[officer.credential_id]
        order = lifting_of(
            suspended, self._registrars, lifting=uuid4(), ordered_at=self._clock().replace(microsecond=0)
        )
        await self._chain.send(topics.LIFTING_REQUESTED, order)
        await self._newer(suspended, f"lifting of the suspension of {officer.name}'s certificate")

    async def _newer(self, before: Certificate, what: str) -> None:
        certificates = self._chain.certificates
        await self._chain.wait(
            lambda: certificates[before.credential_id].version > before.version, what, seconds=STEP_SECONDS
        )

    async def press(self, action: Action, officer: Officer, papers: Sequence[Paper], *, request: str) -> Pressed:
        """Steps 1-2: publish the request. Raises KafkaError, TimeoutError."""
        manifest = manifest_of(
            tuple(paper.entry for paper in papers),
            request=request,
            user=officer.user,
            office=officer.office,
            action=action,
        )
        requested = await asyncio.to_thread(request_of, manifest, self._caller)
        seen = self._chain.observation.expect(manifest.header.request_id, action, manifest.documents)
        await self._chain.send(topics.REQUESTED, requested)
        return Pressed(seen, officer.user, requested.commitment.root, manifest)

    async def dispatch(self, pressed: Pressed) -> Dispatch | None:
        """Steps 3-7: the newest code that was sent, as the gateway shows it; None when the request ended before.

        Raises NotInTime, GpkiError.
        """
        seen = pressed.seen
        await self.until(pressed, lambda: bool(seen.dispatched), "the OTP")
        if not seen.dispatched:
            return None
        return await _answered(lambda: self._newest(pressed), unless={404}, what="the OTP in the status")

    async def _newest(self, pressed: Pressed) -> Dispatch | None:
        status = await self._gateway.status(pressed.request_id, pressed.user)
        sent = max(pressed.seen.dispatched)
        return next((one for one in reversed(status.dispatches) if one.number >= sent), None)

    async def authorise(self, pressed: Pressed, *, pin: str, otp: str) -> str:
        """Step 8: seal PIN and OTP and hand them in; returns the attempt. Raises GpkiError."""
        answer = await self._gateway.authorise(pressed.request_id, pressed.user, root=pressed.root, pin=pin, otp=otp)
        return answer.attempt

    async def until(self, pressed: Pressed, condition: Callable[[], bool], what: str) -> None:
        """Return when the condition holds or the request has ended. Raises NotInTime, which names the request."""
        seen = pressed.seen
        seconds = STEP_SECONDS + DOCUMENT_SECONDS * len(seen.documents)
        try:
            await self._chain.wait(lambda: condition() or seen.settled, what, seconds=seconds)
        except NotInTime as error:
            raise NotInTime(f"request {seen.request_id}: {error}") from None

    async def sign_with_token(self, pressed: Pressed, token: OfficerToken, certificate: Certificate) -> None:
        """Step 8 of a token officer: sign on the own machine, and hand the signatures in.

        Raises NotInTime, GpkiError, TokenError.
        """
        await self.until(pressed, lambda: pressed.seen.resolved_at is not None, "the medium")
        manifest = SdkManifest.from_json(pressed.manifest.model_dump(mode="json"))
        signatures = await token.sign_manifest(manifest, certificate.certificate, [certificate.issuer])
        await _answered(
            lambda: self._gateway.token_signatures(pressed.request_id, pressed.user, signatures),
            unless={404, 409},
            what="the gateway, to take the token's signatures",
        )

    async def end(self, pressed: Pressed) -> None:
        """Steps 9-14: return when the request has ended, and what it verified and posted was seen. Raises NotInTime."""
        await self.until(pressed, lambda: False, "the end of the request")

    async def _sealing_key(self, user: str) -> SealingKey:
        """The signer's key, judged. Raises GpkiError, NotInTime."""
        return await _answered(
            lambda: self._gateway.sealing_key(user), unless={401}, what="the sealing key from the gateway"
        )


async def _answered(ask: Callable[[], Awaitable[T | None]], *, unless: Collection[int], what: str) -> T:
    """Ask until there is an answer: the gateway reads Kafka as we do, and may be a moment behind us.

    A refusal with a status of `unless` is such a moment too. Raises NotInTime, GpkiError.
    """
    deadline = time.monotonic() + STEP_SECONDS
    pause, longest = STATUS_EVERY
    while True:
        try:
            answer = await ask()
        except Problem as error:
            if error.status not in unless or time.monotonic() > deadline:
                raise
            answer = None
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {STEP_SECONDS:.0f} s")
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)
