"""Events in, timeline out: every topic of the chain moves the requests that it names."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import structlog

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done
from libs.bus.trust import usable_key, vouches
from libs.bus.work import Handler, Recording, Work
from libs.contracts.base import Event
from libs.contracts.notice import OfficerTold
from libs.contracts.signing import Completed, MediumResolved, OtpDispatched, Requested
from libs.contracts.state import Key
from libs.storage import ledger, state
from services.gateway import inbox, store, timeline
from services.gateway.timeline import Advance

E = TypeVar("E", bound=Event)

log = structlog.get_logger()


class Requests:
    """The handler of `requested`: shows what its caller has truly signed; whether it may go on, medium_lookup says."""

    def __init__(self, service_root: bytes) -> None:
        self._service_root = service_root

    async def handle(self, work: Work[Requested]) -> None:
        """Settle every delivery of the slice."""
        async with work.reserving() as connection:
            keys = {
                key_id: await state.key(connection, key_id, "caller")
                for key_id in {delivery.event.caller_key for delivery in work.deliveries}
            }
        genuine = await asyncio.to_thread(self._genuine, work.deliveries, keys)
        async with work.recording(*work.deliveries) as recording:
            shown = [delivery for delivery in recording.deliveries if delivery.id in genuine]
            await store.advance(recording.connection, [_requested(delivery) for delivery in shown])
            # A forged request must not take the id of the true one: its mark is taken back, so that the true one is
            # neither a repeat nor a conflict when it comes. medium_lookup writes the dead letter.
            forged = [delivery.id for delivery in recording.deliveries if delivery.id not in genuine]
            if forged:
                await ledger.unclaim(recording.connection, forged)
                log.warning("forged-request", requests=len(forged))
            _done(recording)

    def _genuine(self, deliveries: Sequence[Delivery[Requested]], keys: dict[str, Key | None]) -> set[UUID]:
        return {delivery.id for delivery in deliveries if self._is_genuine(delivery, keys[delivery.event.caller_key])}

    def _is_genuine(self, delivery: Delivery[Requested], key: Key | None) -> bool:
        event = delivery.event
        return vouches(
            usable_key(key, self._service_root, delivery.appended_at),
            caller=event.manifest.header.get("caller", ""),
            root=event.commitment.root,
            signature=event.signature,
        )


async def medium_resolved(work: Work[MediumResolved]) -> None:
    """`medium-resolved`: keep the manifest for the authorisation."""
    texts = await asyncio.to_thread(_manifest_texts, work.deliveries)
    async with work.recording(*work.deliveries) as recording:
        kept = [(delivery.event, texts[delivery.id]) for delivery in recording.deliveries]
        await store.add_manifests(recording.connection, kept)
        await _advance(recording, timeline.medium_resolved)


async def otp_dispatched(work: Work[OtpDispatched]) -> None:
    """`otp-dispatched`: keep the challenge for the authorisation, and the message for its device."""
    async with work.recording(*work.deliveries) as recording:
        events = [delivery.event for delivery in recording.deliveries]
        await store.add_challenges(recording.connection, events)
        await inbox.keep(recording.connection, events)
        await _advance(recording, timeline.otp_dispatched)


async def officer_told(work: Work[OfficerTold]) -> None:
    """`officer-told`: keep the notice for its device."""
    async with work.recording(*work.deliveries) as recording:
        await inbox.keep_notices(recording.connection, [delivery.event for delivery in recording.deliveries])
        _done(recording)


async def completed(work: Work[Completed]) -> None:
    """`completed`: the status is of the timeline alone from now on; manifest and challenges are needed no more."""
    async with work.recording(*work.deliveries) as recording:
        ended = [delivery.event.request_id for delivery in recording.deliveries]
        await recording.connection.execute(store.SQL["forget"], ended)
        await _advance(recording, timeline.completed)


def request_events(advance: Callable[[E, datetime], Advance]) -> Handler[E]:
    """A handler of events that are a row each."""

    async def project(work: Work[E]) -> None:
        async with work.recording(*work.deliveries) as recording:
            await _advance(recording, advance)

    return project


def document_events(advances: Callable[[list[tuple[E, datetime]]], list[Advance]]) -> Handler[E]:
    """A handler of events that are told together: a row per request, and per cause, in a slice."""

    async def project(work: Work[E]) -> None:
        async with work.recording(*work.deliveries) as recording:
            arrived = [(delivery.event, delivery.appended_at) for delivery in recording.deliveries]
            await store.advance(recording.connection, advances(arrived))
            _done(recording)

    return project


async def _advance(recording: Recording[E], advance: Callable[[E, datetime], Advance]) -> None:
    advances = [advance(delivery.event, delivery.appended_at) for delivery in recording.deliveries]
    await store.advance(recording.connection, advances)
    _done(recording)


def _done(recording: Recording[E]) -> None:
    for delivery in recording.deliveries:
        recording.settle(delivery, Done())


def _manifest_texts(deliveries: Sequence[Delivery[MediumResolved]]) -> dict[UUID, bytes]:
    return {delivery.id: delivery.event.signed.model_dump_json().encode() for delivery in deliveries}


def _requested(delivery: Delivery[Requested]) -> Advance:
    return timeline.requested(UUID(delivery.event.key), delivery.event.manifest.header, delivery.appended_at)
