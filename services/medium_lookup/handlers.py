"""`requested` and `cancel-requested` in; `medium-resolved`, `rejected` or `cancel-answered` out."""

import asyncio
from collections.abc import Collection, Mapping
from typing import assert_never
from uuid import UUID

import structlog

from libs.bus.admission import Forged, Refused, admit, may_ask
from libs.bus.cancelling import answers
from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Outcome, Park, Poison, Rejected
from libs.bus.trust import usable_key
from libs.bus.work import Recording, Work
from libs.contracts import signing, topics
from libs.contracts.cancelling import CancelRequested
from libs.contracts.ids import request_id_of
from libs.contracts.manifest import Manifest, SignedManifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import Medium, MediumResolved, Requested
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.crypto.service_certificates import ServiceIdentity
from libs.storage import cancels, state
from libs.storage.pool import Connection
from services.medium_lookup import store
from services.medium_lookup.cancelling import judge
from services.medium_lookup.lookup import NotYetKnown, Resolved, resolve

log = structlog.get_logger()

Admitted = tuple[ServiceIdentity | None, Manifest | Refused | Forged]


class MediumLookup:
    """The handler of `requested`. Any number of replicas."""

    def __init__(self, *, service_root: bytes, emits_to: Topic, media: Collection[Medium]) -> None:
        self._service_root = service_root
        self._emits_to = emits_to
        self._media = media

    async def handle(self, work: Work[Requested]) -> None:
        """Settle every delivery of the slice."""
        async with work.reserving() as connection:
            keys = {
                key_id: await state.key(connection, key_id, "caller")
                for key_id in {delivery.event.caller_key for delivery in work.deliveries}
            }
        admitted = await asyncio.to_thread(self._admit, work.deliveries, keys)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                caller, found = admitted[delivery.id]
                if caller is None or isinstance(found, Forged):
                    recording.settle(delivery, Poison(Reason.CALLER_SIGNATURE_INVALID))
                else:
                    recording.settle(delivery, await self._decide(recording.connection, delivery, caller, found))

    def _admit(
        self, deliveries: tuple[Delivery[Requested], ...], keys: Mapping[str, Key | None]
    ) -> dict[object, Admitted]:
        found: dict[object, Admitted] = {}
        for delivery in deliveries:
            caller = usable_key(keys[delivery.event.caller_key], self._service_root, delivery.appended_at)
            found[delivery.id] = caller, admit(delivery.event, caller)
        return found

    async def _decide(
        self,
        connection: Connection,
        delivery: Delivery[Requested],
        caller: ServiceIdentity,
        admitted: Manifest | Refused,
    ) -> Outcome:
        """Decide about a request whose caller's signature holds, and keep that for a cancel to find."""
        request_id, header = _id(delivery), admitted.header
        await cancels.lock(connection, request_id)
        if header is not None:
            asked = await cancels.take(connection, request_id, caller=header.caller, user=header.user)
            if asked:
                await store.add_request(connection, request_id, header, Reason.CANCELLED)
                emits = answers(topics.CANCEL_ANSWERED, request_id, asked, "accepted")
                return _rejected(delivery, Refused(Reason.CANCELLED, header), *emits)
        outcome = await self._outcome(connection, delivery, caller, admitted)
        if not isinstance(outcome, Park):
            reason = outcome.event.reason if isinstance(outcome, Rejected) else None
            await store.add_request(connection, request_id, header, reason)
        return outcome

    async def _outcome(
        self,
        connection: Connection,
        delivery: Delivery[Requested],
        caller: ServiceIdentity,
        admitted: Manifest | Refused,
    ) -> Outcome:
        if isinstance(admitted, Refused):
            return _rejected(delivery, admitted)
        user = await state.user(connection, admitted.header.user)
        if user is not None and not may_ask(caller.offices, user):
            refused = Refused(
                Reason.CALLER_NOT_ALLOWED, admitted.header, "header.user is of no office of the caller's key"
            )
            return _rejected(delivery, refused)
        credentials = [user.credential_id] if user and user.credential_id else []
        certificates = await state.certificates(connection, credentials)
        found = resolve(admitted.header, user, certificates, self._media)
        match found:
            case Resolved():
                return Done((Emit(self._emits_to, _resolved(delivery, admitted, found)),))
            case NotYetKnown(reason):
                if delivery.parked is None:
                    return Park(OVERTAKEN, reason)
                return _rejected(delivery, Refused(reason, admitted.header))
            case Refused():
                return _rejected(delivery, found)
            case _:
                assert_never(found)


async def cancel_requested(work: Work[CancelRequested]) -> None:
    """`cancel-requested`: of a request that ended here it is answered; one that comes first is kept."""
    await work.settle_each(_cancelled)


async def _cancelled(recording: Recording[CancelRequested], delivery: Delivery[CancelRequested]) -> Outcome:
    event, connection = delivery.event, recording.connection
    await cancels.lock(connection, event.request_id)
    judged = await store.judged(connection, event.request_id)
    if judged is None:
        await cancels.keep(connection, event)
        return Done()
    return judge(event, judged)


def _id(delivery: Delivery[Requested]) -> UUID:
    header = delivery.event.manifest.header
    return request_id_of(header["caller"], header["request"])


def _resolved(delivery: Delivery[Requested], manifest: Manifest, found: Resolved) -> MediumResolved:
    event = delivery.event
    return MediumResolved(
        request_id=manifest.header.request_id,
        signed=SignedManifest(manifest=manifest, caller_key=event.caller_key, signature=event.signature),
        requested_at=delivery.appended_at,
        medium=found.medium,
        credential_id=found.credential_id,
        channels=found.channels,
    )


def _rejected(delivery: Delivery[Requested], refused: Refused, *emits: Emit) -> Rejected:
    request_id = _id(delivery)
    log.info("refused", request_id=str(request_id), reason=refused.reason)
    return Rejected(
        signing.Rejected(
            request_id=request_id,
            header=refused.header,
            documents=None,
            stage="medium_lookup",
            reason=refused.reason,
            detail=refused.detail,
            safe_to_retry=refused.reason.safe_to_retry,
        ),
        emits,
    )
