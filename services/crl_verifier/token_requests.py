"""The life of a token request here: from `medium-resolved` to its end by signatures, by a cancel or by time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.bus.cancelling import Cancelling
from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Outcome, Park, Poison, Rejected
from libs.bus.work import Handler, Recording, Work
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.document_signature import TOKEN
from libs.contracts.reasons import Reason
from libs.contracts.signing import RESERVE_WITHIN, MediumResolved
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.storage import cancels
from libs.storage.pool import Connection
from services.crl_verifier import token_store as store
from services.crl_verifier.answers import rejected

SIGN_WITHIN: Final = timedelta(hours=8)
"""From `medium-resolved`: an officer's working day."""

LOOK_AGAIN: Final = timedelta(minutes=1)
"""After its time is over, between two looks at a request of which a signature waits for a CRL."""

JUDGED_FIRST: Final = "what was signed in time is judged first"


class Expiry(Event):
    """Timer: a token request that was not signed in time."""

    request_id: UUID

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id,)


EXPIRY: Final = Topic("timer.crl-verifier.expiry", Expiry, "request")


async def medium_resolved(work: Work[MediumResolved]) -> None:
    """`medium-resolved`: a token request ends here from now on, by the timer if by nothing else.

    The caller's signature is not asked: what is verified is the officer's own, over the root.
    """
    async with work.recording(*work.deliveries) as recording:
        for delivery in recording.deliveries:
            mine = delivery.event.medium == TOKEN
            recording.settle(delivery, await _resolved(recording, delivery) if mine else Done())


Unread = Callable[[Collection[str], datetime], Awaitable[set[str]]]
"""Of these documents, those that may have a signature from before this time that has yet to be handled."""


def expiry(clock: Clock, unread: Unread) -> Handler[Expiry]:
    """The timer: reject what nobody has signed in time.

    What was handed in in time is judged first, however long a CRL, our own backlog, or an outage, keeps it; the timer
    lives until then. The request is not marked as ended: a cancel after it takes back what still waits, and is too late
    for all else.
    """

    async def handle(work: Work[Expiry]) -> None:
        now = clock()
        judged_first = await _judged_first(work, unread, now)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                request = await store.lock_request(recording.connection, delivery.event.request_id)
                if request is None or request.end_reason is not None:
                    recording.settle(delivery, Done())
                    continue
                left = _closes_at(request) - now
                if left > timedelta():
                    recording.settle(delivery, Park(left, "not expired yet"))
                    continue
                if request.request_id in judged_first:
                    recording.settle(delivery, Park(OVERTAKEN, JUDGED_FIRST))
                    continue
                rest, waits = await store.expire_rest(recording.connection, request.request_id)
                expired = rejected(request.header, Reason.EXPIRED, *rest) if rest else None
                if waits:
                    emits = (Emit(topics.REJECTED, expired.event),) if expired else ()
                    recording.settle(delivery, Park(LOOK_AGAIN, JUDGED_FIRST, emits))
                else:
                    recording.settle(delivery, expired or Done())

    return handle


async def _judged_first(work: Work[Expiry], unread: Unread, now: datetime) -> set[UUID]:
    """The requests whose time is over, and of whose open documents one may have been signed in time."""
    ids = [delivery.event.request_id for delivery in work.deliveries]
    async with work.reading() as connection:
        over = await store.unsigned(connection, ids, now - RESERVE_WITHIN)
    if not over:
        return set()
    behind = await unread({document for _, document in over}, max(over.values()))
    return {request_id for request_id, document in over if document in behind}


def _closes_at(request: store.Request) -> datetime:
    return request.expires_at + RESERVE_WITHIN


async def _resolved(recording: Recording[MediumResolved], delivery: Delivery[MediumResolved]) -> Outcome:
    event, connection = delivery.event, recording.connection
    manifest = event.signed.manifest
    if manifest.header.request_id != event.request_id:
        return Poison("the header is not of this request")
    root = await asyncio.to_thread(lambda: manifest.commitment().root)
    await cancels.lock(connection, event.request_id)
    await store.add_request(
        connection,
        manifest,
        credential_id=event.credential_id,
        root=root,
        expires_at=delivery.appended_at + SIGN_WITHIN,
    )
    request = await store.lock_request(connection, event.request_id)
    assert request is not None
    timer = Expiry(request_id=event.request_id)
    await recording.set_timer(EXPIRY, timer, request_id=event.request_id, at=_closes_at(request))
    return await CANCELLING.kept(connection, request)


async def _stop(connection: Connection, request: store.Request) -> Rejected | Done:
    rest = await store.reject_rest(connection, request.request_id, ["open", "waiting"])
    if not rest:
        return Done()
    await store.end_request(connection, request.request_id, Reason.CANCELLED)
    return rejected(request.header, Reason.CANCELLED, *rest)


CANCELLING: Final = Cancelling(topics.CANCEL_ANSWERED, store.lock_request, _stop)
"""What is verified goes on to posting."""
