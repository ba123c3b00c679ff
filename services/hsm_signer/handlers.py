"""Events in, outcomes out: the signer's handlers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.bus.outcomes import OVERTAKEN, Done, Emit, Park, Unavailable
from libs.bus.work import Handler, Recording, Work
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.manifest import Commitment
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationSubmitted, MediumResolved, OtpDispatched
from libs.contracts.state import Certificate
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from libs.storage import state
from services.hsm_signer import lifting, limits, store
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.hsm import HSM, hsm_unavailable
from services.hsm_signer.lanes import Lane
from services.hsm_signer.refusal import CANCELLING, refuse_rest, rejected
from services.hsm_signer.sealing_keys import SealingKeys
from services.hsm_signer.signing import Signing, Submission

ROTATION_LOOK = timedelta(minutes=10)
"""How often a replica looks whether the sealing key is old."""


class Expiry(Event):
    """Timer: a request that was not authorised in time."""

    request_id: UUID

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id,)


class Rotation(Event):
    """Timer: look after the sealing keys. There is one."""

    @property
    def key(self) -> str:
        return "sealing"

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return ()


EXPIRY = Topic("timer.hsm-signer.expiry", Expiry, "request")
ROTATION = Topic("timer.hsm-signer.rotation", Rotation, "key")


def authorisations(
    authoriser: Authoriser, signing: Signing, hashing: Offload, lane: Lane, *, bulk: bool
) -> Handler[AuthorisationSubmitted]:
    """`authorisation-submitted`, one lane of it: authorise, then sign."""

    async def one(work: Work[AuthorisationSubmitted], delivery: Submission) -> None:
        try:
            with lane.working(), hsm_unavailable():
                commitment = delivery.event.signed.manifest.commitment
                computed = await hashing(_computed, commitment)
                authorised = await authoriser.authorise(work, delivery, computed, lane)
                if authorised is not None:
                    await signing.run(work, delivery, authorised, bulk=bulk)
        except Unavailable as away:
            if away.dependency == HSM:
                async with work.recording() as recording:
                    recording.say_away(topics.WAITING, "hsm_signer", Reason.HSM_UNAVAILABLE, [delivery])
            raise

    async def handle(work: Work[AuthorisationSubmitted]) -> None:
        await _all(*(one(work, delivery) for delivery in work.deliveries))

    return handle


async def medium_resolved(work: Work[MediumResolved]) -> None:
    """`medium-resolved`: from here on the signer ends this request, by the timer if by nothing else."""
    async with work.recording(*work.deliveries) as recording:
        for delivery in recording.deliveries:
            event = delivery.event
            if event.medium != "roaming-otp":
                recording.settle(delivery, Done())
                continue
            root = (await asyncio.to_thread(_computed, event.signed.manifest.commitment)).root
            await store.add_request(
                recording.connection,
                event.signed.manifest.header,
                credential_id=event.credential_id,
                root=root,
                requested_at=event.requested_at,
            )
            request = await store.lock_request(recording.connection, event.request_id)
            assert request is not None
            await _set_expiry(recording, event.request_id, request.expires_at)
            recording.settle(delivery, await CANCELLING.kept(recording.connection, request))


def otp_dispatched(reserve_within: timedelta = limits.RESERVE_WITHIN) -> Handler[OtpDispatched]:
    """`otp-dispatched`: the request lives until its last code's expiry, and the time to reserve after it."""

    async def handle(work: Work[OtpDispatched]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                event = delivery.event
                until = event.expires_at + reserve_within
                expires = await store.code_dispatched(recording.connection, event.request_id, until)
                if expires is not None:
                    await _set_expiry(recording, event.request_id, expires)
                unknown = expires is None and delivery.parked is None
                recording.settle(delivery, Park(OVERTAKEN, "the request is not known yet") if unknown else Done())

    return handle


Unread = Callable[[Collection[UUID], datetime], Awaitable[set[UUID]]]
"""Of these requests, those that may have an authorisation from before this time that no lane has handled yet."""


def expiry(clock: Clock, unread: Unread) -> Handler[Expiry]:
    """The timer: end what was not authorised in time.

    What was submitted in time is judged first, however long our own backlog, or an outage, keeps it: it was not late.
    """

    async def handle(work: Work[Expiry]) -> None:
        ids = [delivery.event.request_id for delivery in work.deliveries]
        async with work.reserving() as connection:
            over = await store.unanswered(connection, ids, clock())
        judged_first = await unread(over.keys(), max(over.values())) if over else set()
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                request = await store.lock_request(recording.connection, delivery.event.request_id)
                if request is None or request.end_reason is not None:
                    recording.settle(delivery, Done())
                    continue
                if request.reserved_at is None and request.request_id in judged_first:
                    recording.settle(delivery, Park(OVERTAKEN, "what was submitted in time is judged first"))
                    continue
                authorised = request.reserved_at is not None
                until = request.expires_at
                if request.reserved_at is not None:
                    until = request.reserved_at + limits.FINISH_WITHIN
                left = until - clock()
                if left > timedelta():
                    recording.settle(delivery, Park(left, "reserved" if authorised else "a code is alive"))
                    continue
                if authorised:
                    rest = await refuse_rest(recording.connection, request.header, Reason.AUTHORISATION_EXPIRED)
                    recording.settle(delivery, rest)
                    continue
                await store.end_request(recording.connection, request.request_id, Reason.EXPIRED)
                recording.settle(delivery, rejected(request.header, Reason.EXPIRED))

    return handle


async def _set_expiry(recording: Recording[Any], request_id: UUID, at: datetime) -> None:
    await recording.set_timer(EXPIRY, Expiry(request_id=request_id), request_id=request_id, at=at)


def rotation(sealing_keys: SealingKeys, clock: Clock) -> Handler[Rotation]:
    """The timer of the sealing keys: make one when it is time, publish it, destroy the old."""

    async def handle(work: Work[Rotation]) -> None:
        for delivery in work.deliveries:
            with hsm_unavailable():
                new = await sealing_keys.make(clock()) if await sealing_keys.is_due(clock()) else None
            async with work.recording(delivery) as recording:
                for claimed in recording.deliveries:
                    if new is not None:
                        published = await sealing_keys.rotate(recording.connection, new, clock())
                        recording.emit(claimed, [Emit(topics.KEYS, key) for key in published])
                    await sealing_keys.destroy_old(recording.connection, clock())
                    recording.settle(claimed, Park(ROTATION_LOOK, "the sealing key is young"))

    return handle


def keep_certificates(service_root: bytes) -> Handler[Certificate]:
    """Keep `gpki.certificate.v1`: what two registrars did not lift stays suspended, whatever the authority says.

    Revocation is final and destroys the wrapped key.
    """

    async def keep(work: Work[Certificate]) -> None:
        async with work.recording(*work.deliveries) as recording:
            kept = []
            for delivery in recording.deliveries:
                fault = await lifting.doubt(recording.connection, delivery, service_root)
                recording.settle(delivery, fault or Done())
                if fault is None:
                    kept.append(delivery.event)
            await state.put_certificates(recording.connection, kept)
            revoked = [certificate.credential_id for certificate in kept if certificate.status == "revoked"]
            await store.destroy_credentials(recording.connection, revoked)

    return keep


def _computed(commit: Callable[[], Commitment]) -> Commitment:
    """Root and paths, all hashing done."""
    commitment = commit()
    assert commitment.root
    assert commitment.paths
    return commitment


async def _all(*works: Awaitable[None]) -> None:
    """Let each end by itself; then raise the first failure. One officer's failure is not another's."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
